package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// The statuses that pop exits with.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitCancelled = 3
)

// Process is what a command line gets from the process that it runs in.
type Process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Version        string
}

const defaultServer = "http://127.0.0.1:8080"

// app holds what all commands share.
type app struct {
	Process
	server  string
	auth    credentials
	format  output.Format
	running bool // the command line was understood
}

// Run runs a command line and returns the status to exit with.
func Run(ctx context.Context, args []string, p Process) int {
	a := &app{Process: p, format: output.Table}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exit(cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pop",
		Short: "Priority Operation Processing: submit agendas, schedule them fairly, run them",
		Long: `POP runs agendas: workflows of operations that customers submit and that it schedules fairly between them.

To get started, run everything on this machine, with samples, and in another terminal submit an agenda and look at it:

  pop dev
  pop agenda submit --template words --customer acme --link first --watch
  pop link first
  pop agenda list

To run something of your own, name a program for each type of operation in .pop/handlers.yaml, create an insight that takes
those types with "pop apply", and submit an agenda of them.`,
		Example: `  pop agenda submit report.yaml --watch
  pop doctor --data .pop`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.readEnv(cmd.Flags()); err != nil {
				return err
			}
			if err := a.auth.check(); err != nil {
				return err
			}
			a.running = true
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", defaultServer, "address of the server")
	a.auth.addFlags(flags)
	fromEnv(flags)
	flags.VarP(&a.format, "output", "o", "form of the output")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(output.Formats(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists

	root.AddGroup(&cobra.Group{ID: "run", Title: "Run POP:"}, &cobra.Group{ID: "use", Title: "Use it:"}, &cobra.Group{ID: "help", Title: "Find out more:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.devCommand(), a.serveCommand(), a.pullCommand(), a.tokenCommand(), a.configCommand())
	add("use", a.agendaCommand(), a.linkCommand(), a.applyCommand())
	add("use", a.objectCommands()...)
	add("help", a.simulateCommand(), a.doctorCommand(), a.pluginCommand(), a.versionCommand())
	root.SetHelpCommandGroupID("help")
	root.SetCompletionCommandGroupID("help")
	return root
}

// group returns a command that only has subcommands.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
		},
	}
	c.AddCommand(commands...)
	return c
}

// takes lets a command have so many arguments, which its usage names.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if n := len(args); least <= n && n <= most {
			return nil
		}
		_, wanted, _ := strings.Cut(cmd.Use, " ")
		given := "nothing"
		if len(args) > 0 {
			given = strings.Join(args, " ")
		}
		return usagef("%s takes %s, and was given %s", cmd.CommandPath(), wanted, given)
	}
}

// names returns why the values of a flag cannot be ids: one with space before it, behind a comma, would be found by nobody.
func names(flag string, ids []string) error {
	for _, id := range ids {
		if issues := model.ValidateID("", id); len(issues) > 0 {
			return usagef("--%s: %s", flag, issues[0].Message)
		}
	}
	return nil
}

func (a *app) printer() output.Printer { return output.Printer{W: a.Stdout, Format: a.format} }

// note says something to people that is not the result of the command.
func (a *app) note(format string, args ...any) { _, _ = fmt.Fprintf(a.Stderr, format+"\n", args...) }

// status is an error of which everything has been said but the status to exit with.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exit says what went wrong, and returns the status to exit with.
func (a *app) exit(cmd *cobra.Command, err error) int {
	var said status
	var usage usageError
	var refused *model.Error
	var broken *driver.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &said):
		return int(said)
	case errors.As(err, &usage) || !a.running:
		a.note("pop: %v\nSee %q.", err, cmd.CommandPath()+" --help")
		return exitUsage
	case errors.Is(err, syscall.ECONNREFUSED):
		a.note("pop: no server at %s; start one with `pop dev`, or name another with --server", a.server)
	case errors.As(err, &refused):
		a.note("pop: %s", a.refusal(refused))
	case errors.As(err, &broken) && broken.Message != "":
		a.note("pop: %s", output.Clean(broken.Message))
	default:
		a.note("pop: %s", output.Clean(err.Error()))
	}
	return exitFailed
}

// refusal is an error of the server as people want to read it: with a line for each issue.
func (a *app) refusal(e *model.Error) string {
	var b strings.Builder
	b.WriteString(output.Clean(e.Detail))
	if e.Kind == model.Unauthenticated {
		b.WriteString(" (" + a.auth.remedy() + ")")
	}
	for _, issue := range e.Issues {
		b.WriteString("\n  ")
		if issue.Path != "" {
			b.WriteString(output.Clean(issue.Path) + ": ")
		}
		b.WriteString(output.Clean(issue.Message))
	}
	return b.String()
}
