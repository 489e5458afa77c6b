package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	defaultServer = "http://127.0.0.1:8080"
	serverEnv     = "ARTIFACTSTORE_SERVER"
	contextEnv    = "ARTIFACTSTORE_CONTEXT"
	// A token is never an argument: every list of processes shows arguments.
	tokenEnv         = "ARTIFACTSTORE_TOKEN"
	tokenFileEnv     = "ARTIFACTSTORE_TOKEN_FILE"
	caFileEnv        = "ARTIFACTSTORE_CA_FILE"
	insecureTokenEnv = "ARTIFACTSTORE_INSECURE_TOKEN"
)

// environment is what the process gets from outside; tests substitute it.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// app is one run of the program.
type app struct {
	environment
	connection
	retrying
	contextName string
	output      format
	progress    progressMode
	quiet       bool
	screen      screen
	connect     func(c connection) (registry.Registry, error)
	global      *pflag.FlagSet // those of every verb
	resolved    bool           // the connection is decided
	atEnd       []func()       // what close calls
	// started is set when a verb's own code begins: an earlier error is
	// cobra's, about flags and arguments, and so wrong usage.
	started bool
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, env environment) int {
	a := &app{environment: env, output: formatTable, connect: connect}
	root := a.root()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = asUsage(err)
	}
	err = a.explain(ctx, err)
	a.close()
	code := exitCode(err)
	if code == exitInterrupted {
		err = interrupted(err)
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "artifactstore: %s\n", oneLine(err))
	}
	var unknown *unknownVerbError
	switch {
	case errors.As(err, &unknown):
		fmt.Fprintf(a.stderr, "See %s --help.\n", unknown.group)
	case code == exitUsage && !command.Hidden:
		a.printUsage(command)
	}
	return code
}

// printUsage lists the commands of a group, or one usage line for a verb.
func (a *app) printUsage(command *cobra.Command) {
	if command.HasAvailableSubCommands() {
		fmt.Fprint(a.stderr, command.UsageString())
		return
	}
	fmt.Fprintf(a.stderr, "usage: %s\nSee %s --help.\n", command.UseLine(), command.CommandPath())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "artifactstore",
		Short: "Store packages of files and verify that their bytes are intact",
		Long: `artifactstore pushes packages (producer/name@version) to a registry, pulls them
back, and reports what is stored, where, and whether it is still intact.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 integrity failure,
130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.Version = programVersion()
	root.SetVersionTemplate("artifactstore {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version of this program")
	// Long descriptions of flags hold line breaks, so that help fits 80 columns.
	flags := root.PersistentFlags()
	a.global = flags
	flags.StringVar(&a.server, "server", "", "address of the registry; "+serverEnv+" sets\nthe default, else the current context, else it is\n"+defaultServer)
	flags.StringVar(&a.contextName, "context", "", "context to use instead of the current one;\n"+contextEnv+" sets the default")
	flags.VarP(&a.output, "output", "o", "table, wide, json or yaml")
	// A flag takes precedence over the environment, and a token over a token file.
	a.token = storage.NewSecret(a.getenv(tokenEnv))
	flags.StringVar(&a.tokenFile, "token-file", a.getenv(tokenFileEnv), "file with the access token, reread when it changes;\n"+tokenFileEnv+" sets the default,\n"+tokenEnv+" sets the token itself")
	flags.StringVar(&a.caFile, "ca-file", a.getenv(caFileEnv), "PEM certificates to trust instead of the system's;\n"+caFileEnv+" sets the default")
	flags.BoolVar(&a.insecureToken, "insecure-token", a.getenv(insecureTokenEnv) == "true", "allow sending the token over plain http to another\nmachine; "+insecureTokenEnv+"=true sets the\ndefault")
	flags.DurationVar(&a.retryFor, "retry-for", a.retryDefault(a.getenv(retryForEnv)), "how long to retry while the registry does not\nanswer, 0 for not at all; "+retryForEnv+"\nsets the default")
	a.progress = progressAuto
	flags.Var(&a.progress, "progress", "bar, plain (a line every 10 s), none, or auto:\na bar on a terminal, otherwise plain")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress and no waits, only errors")
	complete(root, "output", "table", "wide", "json", "yaml")
	complete(root, "progress", "auto", "bar", "plain", "none")
	must(root.RegisterFlagCompletionFunc("context", a.completeContexts))
	group(root)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		// A mistyped verb has flags that its group does not know.
		if before := command.Flags().Args(); command.HasSubCommands() && len(before) > 0 {
			return unknownVerb(command, before[0])
		}
		return err
	})
	root.AddCommand(
		a.pushCommand(), a.pullCommand(), a.listCommand(), a.showCommand(), a.lsCommand(), a.catCommand(), a.diffCommand(), a.findCommand(), a.tagCommand(), a.damagedCommand(),
		a.eventsCommand(), a.backendsCommand(), a.routingCommand(),
		a.digestCommand(), a.manifestCommand(), a.storageCommand(),
		a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.contextCommand(),
		a.viewsCommand(), a.healthCommand(), a.versionCommand(),
	)
	a.completeNames(root)
	standalone(root)
	helpful(root)
	return root
}

// group makes a command that only contains others; run alone it is wrong usage.
func group(command *cobra.Command) {
	command.Args = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownVerb(command, args[0])
	}
	command.RunE = func(command *cobra.Command, _ []string) error {
		return usage("%s: a command is required", command.CommandPath())
	}
}

// verb marks the point after which errors are no longer about the command line.
func (a *app) verb(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		a.started = true
		if name := command.Name(); slices.Contains([]string{"list", "damaged", "events", "find"}, name) {
			if err := refuseEmpty(command); err != nil {
				return err
			}
		}
		return do(command.Context(), args)
	}
}

// refuseEmpty: a filter that is given and empty, as of an unset variable, would select everything.
func refuseEmpty(command *cobra.Command) error {
	for _, name := range []string{"producer", "name", "retention-class", "tier", "actor", "package"} {
		if flag := command.Flags().Lookup(name); flag != nil && flag.Changed && flag.Value.String() == "" {
			return usage("--%s: must not be empty", name)
		}
	}
	return nil
}

// helpful makes help of what is no command an error, as the command itself is.
func helpful(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	must(err)
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		about, rest, err := root.Find(args)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return unknownVerb(about, rest[0])
		}
		about.InitDefaultHelpFlag()
		return about.Help()
	}
}

// unknownVerbError is a verb that does not exist: no list of flags helps.
type unknownVerbError struct{ words, group string }

func (e *unknownVerbError) Error() string { return e.words }

func unknownVerb(command *cobra.Command, name string) error {
	const most = 3
	words := fmt.Sprintf("unknown command %q for %q", name, command.CommandPath())
	for distance := range 2 { // of letters that differ; the nearest are meant
		command.SuggestionsMinimumDistance = distance + 1
		if meant := command.SuggestionsFor(name); len(meant) > 0 {
			words += "; did you mean " + strings.Join(meant[:min(len(meant), most)], " or ") + "?"
			break
		}
	}
	return &unknownVerbError{words, command.CommandPath()}
}
