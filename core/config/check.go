package config

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pop-platform/pop/core/model"
)

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	checksum   = regexp.MustCompile(`^(sha256:)?[0-9a-fA-F]{64}$`)
)

// check finds out what is wrong with the values. It does no I/O. Where something was wrong with the form of a value already,
// there is nothing to add.
func (l *Loaded) check(in Input) {
	form := l.Issues
	l.Issues = nil
	l.checkServer()
	l.checkDrivers()
	if !in.Open {
		l.checkTokens()
	}
	for _, name := range l.names() {
		l.checkPlugin("plugins."+name, name, l.Plugins[name], in.Linked)
	}
	for _, i := range l.Issues {
		if !slices.ContainsFunc(form, func(f model.Issue) bool { return f.Path == i.Path || strings.HasPrefix(i.Path, f.Path+".") }) {
			i.Message += l.origin(i.Path)
			form = append(form, i)
		}
	}
	l.Issues = form
}

// origin says where a value is from that is not from the file.
func (l *Loaded) origin(path string) string {
	for _, s := range l.Settings {
		switch {
		case s.Path != path:
		case s.Source == Environment:
			return " (from the variable " + s.Env + ")"
		case s.Source == Flag:
			return " (from the flag --" + s.Flag + ")"
		}
	}
	return ""
}

// Level returns the least important messages to log.
func (s Server) Level() (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(s.LogLevel))
	return level, err
}

// Retention returns how long to keep what operations print.
func (s Server) Retention() (time.Duration, error) {
	keep, err := time.ParseDuration(s.KeepLogs)
	if err == nil && keep <= 0 {
		err = errors.New("it is not positive")
	}
	return keep, err
}

// Lease returns how long insights wait for another server.
func (s Server) Lease() (time.Duration, error) {
	lease, err := time.ParseDuration(s.OwnerLease)
	if err == nil && (lease < time.Second || lease > time.Hour) {
		err = errors.New("it is not from 1s to 1h")
	}
	return lease, err
}

func (l *Loaded) checkServer() {
	host, port, err := net.SplitHostPort(l.Server.Addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /") {
		l.issue("server.addr", "%q is no address to listen on; an example is 127.0.0.1:8080", l.Server.Addr)
	}
	if l.Server.Data == "" {
		l.issue("server.data", "is empty; name a folder")
	}
	if _, err := l.Server.Retention(); err != nil {
		l.issue("server.keepLogs", "%q is no length of time; an example is 168h", l.Server.KeepLogs)
	}
	if l.Server.Name != "" {
		for _, i := range model.ValidateID("server.name", l.Server.Name) {
			l.issue(i.Path, "%s", i.Message)
		}
	}
	if u, err := url.Parse(l.Server.Advertise); l.Server.Advertise != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		l.issue("server.advertise", "%q is no URL of a server; an example is http://10.0.0.7:8080", l.Server.Advertise)
	}
	if _, err := l.Server.Lease(); err != nil {
		l.issue("server.ownerLease", "%q is no length of time from 1s to 1h; an example is 15s", l.Server.OwnerLease)
	}
	if _, err := l.Server.Level(); err != nil {
		l.issue("server.logLevel", "must be debug, info, warn or error, not %q", l.Server.LogLevel)
	}
}

func (l *Loaded) checkDrivers() {
	for _, d := range []struct{ path, by string }{
		{"drivers.store", l.Drivers.Store}, {"drivers.queue", l.Drivers.Queue}, {"drivers.authorizer", l.Drivers.Authorizer},
	} {
		if _, ok := l.Plugins[d.by]; !ok && d.by != Local {
			l.issue(d.path, "there is no plugin %q; there are %s", d.by, strings.Join(append([]string{Local + " (linked in)"}, l.names()...), ", "))
		}
	}
}

func (l *Loaded) checkTokens() {
	switch {
	case l.Drivers.Authorizer == Local && l.Server.Tokens == "":
		l.issue("server.tokens", "is missing: name the file of tokens, with --tokens or here (`pop token` makes its entries); to try things out without authentication, there is `pop dev`")
	case l.Drivers.Authorizer != Local && l.Server.Tokens != "":
		l.issue("server.tokens", "is for the authorizer local, but %s says who calls; leave one out", l.Drivers.Authorizer)
	}
}

func (l *Loaded) checkPlugin(path, name string, p Plugin, linked []string) {
	if name == Local || !pluginName.MatchString(name) {
		l.issue(path, "a plugin is called by a word of lower case letters, digits and dashes, and not %s", Local)
	}
	switch {
	case p.Linked != "" && (p.Path != "" || p.SHA256 != "" || len(p.Env) > 0):
		l.issue(path+".linked", "leaves no room for path, sha256 and env: there is no program")
	case p.Linked != "" && !slices.Contains(linked, p.Linked):
		l.issue(path+".linked", "there is no %q in this server; there is %s", p.Linked, strings.Join(linked, ", "))
	case p.Linked != "":
	case p.Path == "":
		l.issue(path+".path", "is missing: name the program")
	case !filepath.IsAbs(p.Path):
		l.issue(path+".path", "%q must be absolute, so that it is the same program wherever the server is started", p.Path)
	}
	if p.SHA256 != "" && !checksum.MatchString(p.SHA256) {
		l.issue(path+".sha256", "must be 64 hexadecimal digits, as sha256sum prints them")
	}
	for i, env := range p.Env {
		at := path + ".env[" + strconv.Itoa(i) + "]"
		switch {
		case !envName.MatchString(env):
			l.issue(at, "%q is no name of a variable; the value is taken from the server's environment", env)
		case slices.Contains(p.Env[:i], env):
			l.issue(at, "%s is there twice", env)
		}
	}
	if text := bytes.TrimSpace(p.Config); len(text) > 0 && text[0] != '{' && string(text) != "null" {
		l.issue(path+".config", "must be an object")
	}
}
