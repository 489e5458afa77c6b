package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/cmd/artifactstore/contexts"
	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/cmd/artifactstore/kubectl"
	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	defaultAudience = "artifact-store"
	// clusterServer is where the Service of config/default is in its cluster.
	clusterServer = "https://artifact-store.artifact-store.svc"
)

// loginFlags say where the token comes from; none asks for it.
type loginFlags struct {
	tokenCommand, helper        string
	kubernetes                  bool
	serviceAccount, kubeContext string
	audience, duration          string
}

func (a *app) loginCommand() *cobra.Command {
	var o loginFlags
	command := &cobra.Command{
		Use:   "login [SERVER]",
		Short: "Log in to a registry, and use it from now on",
		Long: `Log in to a registry: find out that it accepts the token, and keep both as a
context, which is then the current one. Its name is that of the server's host,
or what --context says. Without SERVER it is the registry that other commands
use: of --context, of the environment, or of the current context.

The token comes from a prompt, from --token-file ("-" is standard input), from a
command, or for a ServiceAccount from kubectl. One from the prompt or standard
input is kept in the file of contexts, for its owner only (mode 0600), or by a
credential helper. Of a file or a command the name is kept, and it is read again
when it is needed. --ca-file and --insecure-token are kept as well.

A SERVER without http:// or https:// means https, except on this machine. With
--kubernetes, a SERVER such as https://NAME.NAMESPACE.svc is a Service, which
every command then reaches through kubectl port-forward.`,
		Example: `  artifactstore login https://registry.example.com
  artifactstore login registry.example.com --token-file - <token
  artifactstore login registry.example.com --token-command 'pass show registry'
  artifactstore login registry.example.com --credential-helper secretservice
  artifactstore login --kubernetes --service-account ci/builder --ca-file ca.crt`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.login(ctx, args, o) }),
	}
	flags := command.Flags()
	flags.StringVar(&o.tokenCommand, "token-command", "", "line for the shell that prints the token")
	flags.StringVar(&o.helper, "credential-helper", "", "keep the token by docker-credential-NAME,\nsuch as secretservice, pass, osxkeychain or\nwincred")
	flags.BoolVar(&o.kubernetes, "kubernetes", false, "have kubectl make a token for a\nServiceAccount, now and whenever it has\nexpired; the default SERVER is then\n"+clusterServer)
	flags.StringVar(&o.serviceAccount, "service-account", "", "with --kubernetes: [NAMESPACE/]NAME")
	flags.StringVar(&o.kubeContext, "kube-context", "", "with --kubernetes: context of the kubeconfig")
	flags.StringVar(&o.audience, "audience", defaultAudience, "with --kubernetes: the manager's\n--token-audience")
	flags.StringVar(&o.duration, "duration", "", "with --kubernetes: how long a token is valid,\nsuch as 8h (default what the cluster gives,\nmostly 1h)")
	return command
}

// checkLogin refuses flags that do not go together.
func (a *app) checkLogin(o loginFlags) error {
	typed := !a.flagged("token-file") || a.tokenFile == "-"
	switch {
	case a.flagged("token-file") && a.tokenFile == "":
		return usage("--token-file: must not be empty")
	case a.flagged("token-file") && o.tokenCommand != "", a.flagged("token-file") && o.kubernetes, o.tokenCommand != "" && o.kubernetes:
		return usage("--token-file, --token-command, --kubernetes: give one of them")
	case o.helper != "" && (!typed || o.tokenCommand != "" || o.kubernetes):
		return usage("--credential-helper: keeps a token that is typed, or read by --token-file -, and no other")
	case o.kubernetes && o.serviceAccount == "":
		return usage("--kubernetes: requires --service-account, for whom the token is")
	}
	if o.helper != "" {
		if err := contexts.ValidateHelper(o.helper); err != nil {
			return usage("--credential-helper: %w", err)
		}
	}
	for _, flag := range []struct{ name, value, usual string }{
		{"service-account", o.serviceAccount, ""}, {"kube-context", o.kubeContext, ""}, {"duration", o.duration, ""}, {"audience", o.audience, defaultAudience},
	} {
		if flag.value != flag.usual && !o.kubernetes {
			return usage("--%s: requires --kubernetes", flag.name)
		}
	}
	return nil
}

func (a *app) login(ctx context.Context, args []string, o loginFlags) error {
	if err := a.checkLogin(o); err != nil {
		return err
	}
	file, err := a.loadContexts()
	if err != nil {
		return err
	}
	c, err := a.contextToLogIn(args, o, file)
	if err != nil {
		return err
	}
	if err := a.tokenFlags(ctx, &c, o); err != nil {
		return err
	}
	caller, token, err := a.enter(ctx, &c)
	if err != nil {
		return err
	}
	if c.CredentialHelper != "" && !token.IsZero() {
		if err := (credentials.Helper{Name: c.CredentialHelper}).Store(credentials.Key(c.Server, c.Name), token); err != nil {
			return err
		}
	}
	err = contexts.Update(contexts.Path(a.getenv), a.warn, func(file *contexts.File) error {
		file.Set(c)
		file.Current = c.Name
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range []string{serverEnv, contextEnv, tokenEnv, tokenFileEnv} {
		if a.getenv(name) != "" {
			a.warn(name + " is set, and takes precedence over the current context")
		}
	}
	return a.printLogin(c, caller, token)
}

// contextToLogIn says which context it is, and its server. What a context of that
// name said before stays where no flag says something else.
func (a *app) contextToLogIn(args []string, o loginFlags, file *contexts.File) (c contexts.Context, err error) {
	server, name := a.server, a.contextName
	if len(args) == 1 {
		if server = args[0]; a.flagged("server") && a.server != server {
			return c, usage("SERVER %s, --server %s: give one of them", server, a.server)
		}
	}
	if server == "" && name == "" && !o.kubernetes { // as every other verb
		if server = a.getenv(serverEnv); server == "" {
			name = a.getenv(contextEnv)
		}
	}
	switch {
	case server != "" || name != "":
	case o.kubernetes:
		server = clusterServer
	case file.Current == "":
		return c, usage("SERVER: is required, since there is no current context")
	default:
		name = file.Current
	}
	if server != "" {
		if server, err = completeServer(server); err != nil {
			return c, err
		}
	}
	if name == "" {
		name = nameOf(server)
	}
	if err := contexts.ValidateName(name); err != nil {
		return c, usage("--context: %w", err)
	}
	before := file.Find(name)
	switch {
	case before == nil && server == "":
		return c, noContext(file, name, "--context")
	case before != nil && (server == "" || sameServer(server, before.Server)):
		c = *before
		c.Token = ""
	default:
		c.Server = server // the authorities and tokens of another server are not for it
	}
	c.Name = name
	if c.CAFile, err = absolute(a.caFile, c.CAFile); err != nil {
		return c, usage("--ca-file: %w", err)
	}
	c.InsecureToken = c.InsecureToken || a.insecureToken
	return c, nil
}

// absolute is the path of a file that is to be found from everywhere.
func absolute(path, otherwise string) (string, error) {
	if path == "" {
		return otherwise, nil
	}
	return filepath.Abs(path)
}

// completeServer adds what people leave out of an address: https, or on this machine http.
func completeServer(text string) (string, error) {
	if !strings.Contains(text, "://") {
		host, _, _ := strings.Cut(text, "/")
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		scheme := "https"
		if ip := net.ParseIP(strings.Trim(host, "[]")); strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback() {
			scheme = "http"
		}
		text = scheme + "://" + text
	}
	address, err := url.Parse(text)
	if err != nil || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "" || address.Scheme != "http" && address.Scheme != "https" {
		// Not the text itself: it may have a password.
		return "", usage("SERVER: must be host[:port], http://host[:port] or https://host[:port], without user, query and fragment")
	}
	return strings.TrimRight(address.String(), "/"), nil
}

// nameOf is the name of a server's context.
func nameOf(server string) string {
	address, err := url.Parse(server)
	if err != nil {
		return server
	}
	return address.Host
}

// tokenFlags records where the token comes from, if flags say so.
func (a *app) tokenFlags(ctx context.Context, c *contexts.Context, o loginFlags) (err error) {
	if a.flagged("token-file") || o.tokenCommand != "" || o.helper != "" || o.kubernetes {
		c.TokenFile, c.TokenCommand, c.CredentialHelper, c.Kubernetes = "", o.tokenCommand, o.helper, nil
	}
	if a.flagged("token-file") && a.tokenFile != "-" {
		if c.TokenFile, err = filepath.Abs(a.tokenFile); err != nil {
			return usage("--token-file: %w", err)
		}
	}
	if !o.kubernetes {
		return nil
	}
	cluster := kubectl.Cluster{Context: o.kubeContext}
	namespace, account, found := strings.Cut(o.serviceAccount, "/")
	if !found {
		account = namespace
		if namespace, err = cluster.Namespace(ctx); err != nil {
			return err
		}
	}
	c.Kubernetes = &contexts.Kubernetes{Context: o.kubeContext, Namespace: namespace, ServiceAccount: account, Audience: o.audience, Duration: o.duration}
	if err := c.Kubernetes.Validate(); err != nil {
		return usage("--kubernetes: %w", err)
	}
	if address, err := url.Parse(c.Server); err == nil {
		_, c.Kubernetes.PortForward = serviceOf(address)
	}
	return nil
}

// enter gets the token and has the registry say who its holder is.
func (a *app) enter(ctx context.Context, c *contexts.Context) (registry.Caller, storage.Secret, error) {
	var token storage.Secret
	a.connection = connection{
		server: c.Server, from: "as given", caFile: c.CAFile, insecureToken: c.InsecureToken, tunnel: a.tunnelOf(*c),
	}
	// Without a token first: nobody needs to type one for a registry that cannot be
	// reached, or that asks nobody for it.
	caller, err := a.ask(ctx)
	typed := c.TokenFile == "" && c.TokenCommand == "" && c.Kubernetes == nil
	if err == nil && typed && !a.flagged("token-file") {
		c.CredentialHelper = ""
		return caller, token, nil
	}
	if err != nil && !errors.Is(err, registry.ErrUnauthenticated) {
		return caller, token, err
	}
	a.source = func() (storage.Secret, error) { return token, nil }
	if _, err := a.connect(a.connection); err != nil { // a token would go in the clear
		return caller, token, err
	}
	if token, err = a.newToken(ctx, c); err != nil {
		return caller, token, err
	}
	switch {
	case c.Kubernetes != nil, typed && c.CredentialHelper == "":
		c.Token = contexts.Token(token.Reveal())
	}
	caller, err = a.ask(ctx)
	return caller, token, err
}

// newToken gets it from where the context says, or from the user.
func (a *app) newToken(ctx context.Context, c *contexts.Context) (storage.Secret, error) {
	switch {
	case c.Kubernetes != nil:
		a.tokenFrom = "made by kubectl"
		return kubernetesToken(ctx, c.Kubernetes)
	case c.TokenFile != "":
		a.tokenFrom = "from " + c.TokenFile
		token, err := credentials.File(c.TokenFile)()
		return token, asUsage(err)
	case c.TokenCommand != "":
		a.tokenFrom = "from the token command"
		return credentials.Command(c.TokenCommand, a.stderr)()
	case a.flagged("token-file"):
		a.tokenFrom = "from standard input"
		token, err := credentials.Read(a.stdin, "standard input")
		if err != nil {
			err = usage("--token-file: %w", err)
		}
		return token, err
	}
	a.tokenFrom = "as typed"
	return a.promptToken(ctx, c.Server)
}

// ask is whoami of the registry that is logged in to. One of an earlier version
// does not say.
func (a *app) ask(ctx context.Context) (registry.Caller, error) {
	asked, err := a.connect(a.connection)
	if err != nil {
		return registry.Caller{}, err
	}
	caller, err := asked.WhoAmI(ctx, "")
	var remote *client.RemoteError
	if errors.As(err, &remote) && remote.Status == http.StatusNotFound && remote.Type != "" {
		return registry.Caller{}, nil
	}
	return caller, err
}

// loggedIn is what login prints.
type loggedIn struct {
	Context       string     `json:"context"`
	Server        string     `json:"server"`
	Name          string     `json:"name,omitempty"`
	Groups        []string   `json:"groups,omitempty"`
	Authenticated bool       `json:"authenticated"`
	Token         string     `json:"token"`
	Expires       *time.Time `json:"expires,omitempty"`
}

func (a *app) printLogin(c contexts.Context, caller registry.Caller, token storage.Secret) error {
	done := loggedIn{Context: c.Name, Server: c.Server, Name: caller.Name, Groups: caller.Groups, Authenticated: caller.Authenticated, Token: tokenPlace(c)}
	if token.IsZero() {
		done.Token = "not needed: the registry asks nobody who they are"
	}
	if times, known := credentials.TimesOf(token); known && !times.Expires.IsZero() {
		expires := times.Expires.UTC()
		done.Expires = &expires
	}
	return a.print(done, func(w *tabwriter.Writer) {
		field(w, "context", done.Context)
		field(w, "server", done.Server)
		field(w, "name", done.Name)
		for _, group := range done.Groups {
			field(w, "group", group)
		}
		field(w, "token", done.Token)
		if done.Expires != nil {
			field(w, "expires", done.Expires.Format(time.RFC3339))
		}
		field(w, "file", contexts.Path(a.getenv))
	})
}

// tokenPlace says where a context has its token.
func tokenPlace(c contexts.Context) string {
	switch {
	case c.Kubernetes != nil:
		return fmt.Sprintf("of the ServiceAccount %s/%s, by kubectl", c.Kubernetes.Namespace, c.Kubernetes.ServiceAccount)
	case c.TokenFile != "":
		return "in " + c.TokenFile
	case c.TokenCommand != "":
		return "printed by the token command" // the line may have a secret
	case c.CredentialHelper != "":
		return "kept by docker-credential-" + c.CredentialHelper
	case c.Token != "":
		return "in the file of contexts"
	}
	return noToken
}

const noToken = "none"
