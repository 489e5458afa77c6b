package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/cmd/artifactstore/contexts"
	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
)

func (a *app) contextCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "context",
		Short: "List the registries that were logged in to, and choose one",
		Long: `List the registries that were logged in to, and choose one. Contexts are in one
file: ` + contexts.Env + `, or else artifactstore/config.yaml below
$XDG_CONFIG_HOME or ~/.config.

A command takes, in this order: --server or --context, ` + serverEnv + `,
` + contextEnv + `, the current context, ` + defaultServer + `.`,
		Example: `  artifactstore context list
  artifactstore context use registry.example.com
  artifactstore list --context registry.example.com`,
	}
	group(command)
	list := &cobra.Command{
		Use: "list", Short: "List contexts; * is the current one", Args: cobra.NoArgs,
		Example: "  artifactstore context list -o json",
		RunE:    a.verb(a.contextList),
	}
	use := &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: cobra.ExactArgs(1),
		Example:           "  artifactstore context use registry.example.com",
		ValidArgsFunction: a.completeContexts,
		RunE:              a.verb(a.contextUse),
	}
	show := &cobra.Command{
		Use: "show [NAME]", Short: "Show a context: its server, and where its token is", Args: cobra.MaximumNArgs(1),
		Example:           "  artifactstore context show",
		ValidArgsFunction: a.completeContexts,
		RunE:              a.verb(a.contextShow),
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Remove a context and its token", Args: cobra.ExactArgs(1),
		Example:           "  artifactstore context remove registry.example.com",
		ValidArgsFunction: a.completeContexts,
		RunE:              a.verb(a.contextRemove),
	}
	command.AddCommand(list, use, show, remove)
	return command
}

// contextInfo is what is shown of a context: no token.
type contextInfo struct {
	Name          string `json:"name"`
	Current       bool   `json:"current"`
	Server        string `json:"server"`
	CAFile        string `json:"caFile,omitempty"`
	InsecureToken bool   `json:"insecureToken,omitempty"`
	Token         string `json:"token"`
}

func infoOf(file *contexts.File, c contexts.Context) contextInfo {
	return contextInfo{c.Name, c.Name == file.Current, c.Server, c.CAFile, c.InsecureToken, tokenPlace(c)}
}

func (a *app) contextList(context.Context, []string) error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	all := struct {
		Contexts []contextInfo `json:"contexts"`
	}{[]contextInfo{}}
	for _, name := range file.Names() {
		all.Contexts = append(all.Contexts, infoOf(file, *file.Find(name)))
	}
	return a.print(all, func(w *tabwriter.Writer) {
		row(w, "CURRENT", "NAME", "SERVER", "TOKEN")
		for _, c := range all.Contexts {
			current := ""
			if c.Current {
				current = "*"
			}
			row(w, current, c.Name, c.Server, c.Token)
		}
	})
}

func (a *app) contextUse(_ context.Context, args []string) error {
	err := contexts.Update(contexts.Path(a.getenv), a.warn, func(file *contexts.File) error {
		if file.Find(args[0]) == nil {
			return noContext(file, args[0], "NAME")
		}
		file.Current = args[0]
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range []string{serverEnv, contextEnv} {
		if a.getenv(name) != "" {
			a.warn(name + " is set, and takes precedence over the current context")
		}
	}
	return nil
}

// named returns the context of that name, or the one that a flag names, or the
// current one.
func (a *app) named(file *contexts.File, args []string) (contexts.Context, error) {
	name, from := "", ""
	switch {
	case a.flagged("server"):
		c := contextOf(file, a.server)
		if c == nil || len(args) == 1 && args[0] != c.Name {
			return contexts.Context{}, usage("--server: there is no such context for %s", printable(a.server))
		}
		name = c.Name
	case len(args) == 1:
		name, from = args[0], "NAME"
	case a.contextName != "":
		name, from = a.contextName, "--context"
	case a.getenv(contextEnv) != "":
		name, from = a.getenv(contextEnv), contextEnv
	case file.Current != "":
		name, from = file.Current, "current"
	default:
		return contexts.Context{}, usage("there is no current context; artifactstore login makes one")
	}
	c := file.Find(name)
	if c == nil {
		return contexts.Context{}, noContext(file, name, from)
	}
	return *c, nil
}

func (a *app) contextShow(_ context.Context, args []string) error {
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	c, err := a.named(file, args)
	if err != nil {
		return err
	}
	info := infoOf(file, c)
	return a.print(info, func(w *tabwriter.Writer) {
		field(w, "name", info.Name)
		field(w, "current", info.Current)
		field(w, "server", info.Server)
		field(w, "ca file", info.CAFile)
		if info.InsecureToken {
			field(w, "insecure token", true)
		}
		field(w, "token", info.Token)
		field(w, "file", contexts.Path(a.getenv))
	})
}

func (a *app) contextRemove(_ context.Context, args []string) error {
	c, err := a.forget(args)
	if err != nil {
		return err
	}
	return contexts.Update(contexts.Path(a.getenv), a.warn, func(file *contexts.File) error {
		if !file.Remove(c.Name) {
			return noContext(file, c.Name, "NAME")
		}
		return nil
	})
}

// forget finds a context and erases its token.
func (a *app) forget(args []string) (contexts.Context, error) {
	file, err := a.loadContexts()
	if err != nil {
		return contexts.Context{}, err
	}
	c, err := a.named(file, args)
	if err != nil {
		return contexts.Context{}, err
	}
	return c, eraseToken(c)
}

// eraseToken has a credential helper forget the token. It comes before the context is
// changed: afterwards nobody would know where the token is.
func eraseToken(c contexts.Context) error {
	if c.CredentialHelper == "" {
		return nil
	}
	return credentials.Helper{Name: c.CredentialHelper}.Erase(credentials.Key(c.Server, c.Name))
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout [CONTEXT]",
		Short: "Remove the token of a context; its server stays",
		Long: `Remove the token of a context, the current one if none is named, or what says
where it is. A file or a command that the token came from stays as it is, and
the token stays valid until it expires or the registry's administrator revokes
it. The server stays: artifactstore login logs in there again.`,
		Example: `  artifactstore logout
  artifactstore logout registry.example.com`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeContexts,
		RunE:              a.verb(a.logout),
	}
}

func (a *app) logout(_ context.Context, args []string) error {
	c, err := a.forget(args)
	if err != nil {
		return err
	}
	had := tokenPlace(c)
	err = contexts.Update(contexts.Path(a.getenv), a.warn, func(file *contexts.File) error {
		there := file.Find(c.Name)
		if there == nil {
			return noContext(file, c.Name, "CONTEXT")
		}
		there.Token, there.TokenFile, there.TokenCommand, there.CredentialHelper, there.Kubernetes = "", "", "", "", nil
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range []string{tokenEnv, tokenFileEnv} {
		if a.getenv(name) != "" {
			a.warn(name + " is still set, and takes precedence")
		}
	}
	done := "logged out; the token was " + had
	if had == noToken {
		done = "has no token"
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %s\n", shown(c.Name), shown(done))
	return err
}
