package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	defaultServer = "http://127.0.0.1:8080"
	serverEnv     = "ARTIFACTSTORE_SERVER"
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
	output   format
	progress progressMode
	quiet    bool
	screen   screen
	connect  func(c connection) (registry.Registry, error)
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
	err = explainAccess(err, a.connection)
	code := exitCode(err)
	if code == exitInterrupted {
		err = interrupted(err)
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "artifactstore: %s\n", oneLine(err))
	}
	if code == exitUsage && !command.Hidden {
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
	server := a.getenv(serverEnv)
	if server == "" {
		server = defaultServer
	}
	// Long descriptions of flags hold line breaks, so that help fits 80 columns.
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", server, "address of the registry; "+serverEnv+" sets\nthe default")
	flags.VarP(&a.output, "output", "o", "table, wide, json or yaml")
	// A flag takes precedence over the environment, and a token over a token file.
	a.token = storage.NewSecret(a.getenv(tokenEnv))
	file := a.getenv(tokenFileEnv)
	if !a.token.IsZero() {
		file = ""
	}
	flags.StringVar(&a.tokenFile, "token-file", file, "file with the access token, reread when it changes;\n"+tokenFileEnv+" sets the default,\n"+tokenEnv+" sets the token itself")
	flags.StringVar(&a.caFile, "ca-file", a.getenv(caFileEnv), "PEM certificates to trust instead of the system's;\n"+caFileEnv+" sets the default")
	flags.BoolVar(&a.insecureToken, "insecure-token", a.getenv(insecureTokenEnv) == "true", "allow sending the token over plain http to another\nmachine; "+insecureTokenEnv+"=true sets the\ndefault")
	flags.DurationVar(&a.retryFor, "retry-for", a.retryDefault(a.getenv(retryForEnv)), "how long to retry while the registry does not\nanswer, 0 for not at all; "+retryForEnv+"\nsets the default")
	a.progress = progressAuto
	flags.Var(&a.progress, "progress", "bar, plain (a line every 10 s), none, or auto:\na bar on a terminal, otherwise plain")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress and no waits, only errors")
	complete(root, "output", "table", "wide", "json", "yaml")
	complete(root, "progress", "auto", "bar", "plain", "none")
	group(root)
	root.AddCommand(
		a.pushCommand(), a.pullCommand(), a.listCommand(), a.showCommand(), a.lsCommand(), a.catCommand(), a.diffCommand(), a.findCommand(), a.tagCommand(), a.damagedCommand(),
		a.eventsCommand(), a.backendsCommand(), a.routingCommand(),
		a.digestCommand(), a.manifestCommand(), a.storageCommand(),
		a.viewsCommand(), a.healthCommand(), a.versionCommand(),
	)
	return root
}

// group makes a command that only contains others; run alone it is wrong usage.
func group(command *cobra.Command) {
	command.Args = cobra.NoArgs
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

// client makes a client of the configured server; it sends nothing yet.
func (a *app) client() (registry.Registry, error) {
	if err := a.checkRetries(); err != nil {
		return nil, err
	}
	to := a.connection
	to.patience = a.patience()
	return a.connect(to)
}
