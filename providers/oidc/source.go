package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// maxDocument is the largest document of an issuer that is read.
const maxDocument = 1 << 20

// source is where the keys of an issuer are.
type source struct {
	issuer string
	keys   string // address of the key set; empty to look it up
	http   *http.Client
}

func newSource(conf Issuer) (*source, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.DisableKeepAlives = true // for one request in minutes
	if conf.CAFile != "" {
		text, err := os.ReadFile(conf.CAFile)
		if err != nil {
			return nil, err
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: holds no certificate in PEM", conf.CAFile)
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	return &source{issuer: conf.URL, keys: conf.KeysURL, http: &http.Client{
		Transport: transport,
		// The addresses are those of the configuration and of the issuer's own document; where they would lead on to is not.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirects are not followed") },
	}}, nil
}

// read reads the keys, after looking up where they are.
func (s *source) read(ctx context.Context) ([]key, error) {
	address := s.keys
	if address == "" {
		var err error
		if address, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	text, err := s.get(ctx, address)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return keys, nil
}

// discover returns where an issuer says that its keys are.
func (s *source) discover(ctx context.Context) (string, error) {
	address := strings.TrimSuffix(s.issuer, "/") + "/.well-known/openid-configuration"
	text, err := s.get(ctx, address)
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return "", fmt.Errorf("%s: not a discovery document: %w", address, err)
	}
	if doc.Issuer != s.issuer {
		return "", fmt.Errorf("%s: is the document of issuer %q; write the issuer exactly so, if it is the one you mean", address, doc.Issuer)
	}
	if fault := addressFault(doc.Keys); fault != "" {
		return "", fmt.Errorf("%s: jwks_uri %q %s", address, doc.Keys, fault)
	}
	if isTLS(s.issuer) && !isTLS(doc.Keys) { // an issuer elsewhere must not send requests to this machine
		return "", fmt.Errorf("%s: jwks_uri %q must begin with https://, as the issuer does", address, doc.Keys)
	}
	return doc.Keys, nil
}

func isTLS(address string) bool {
	scheme, _, _ := strings.Cut(address, ":")
	return strings.EqualFold(scheme, "https")
}

func (s *source) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, remedy(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s; see whether the issuer's address is right, and name its keys in keysUrl if it has no discovery document",
			address, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", address, err)
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("GET %s: the answer is larger than %d bytes", address, maxDocument)
	}
	return text, nil
}

// remedy says what helps against an error without an answer.
func remedy(err error) string {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return "if the issuer's certificate is of an authority of your own, name that in caFile"
	}
	return "look at the issuer's address, the network and the proxies in between"
}
