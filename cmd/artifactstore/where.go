package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/cmd/artifactstore/contexts"
	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/cmd/artifactstore/kubectl"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// flagged reports whether the user has given a flag of every verb.
func (a *app) flagged(name string) bool { return a.global != nil && a.global.Changed(name) }

// warn tells something that is no error.
func (a *app) warn(text string) { fmt.Fprintf(a.stderr, "artifactstore: %s\n", printable(text)) }

// loadContexts reads the user's file. An error is no failure of a registry: nothing was sent.
func (a *app) loadContexts() (*contexts.File, error) {
	file, err := contexts.Load(contexts.Path(a.getenv), a.warn)
	return file, asUsage(err)
}

// client makes a client of the registry that is meant; it sends nothing yet.
func (a *app) client() (registry.Registry, error) {
	if err := a.checkRetries(); err != nil {
		return nil, err
	}
	if err := a.resolve(); err != nil {
		return nil, err
	}
	to := a.connection
	to.patience = a.patience()
	return a.connect(to)
}

// resolve finds out which registry is meant, and as whom to ask it. What is nearer
// to the command line takes precedence: flags, then the environment, then the
// current context. A context's token and authorities are for its own server only.
func (a *app) resolve() error {
	if a.resolved {
		return nil
	}
	server, from, context, err := a.choose()
	if err != nil {
		return err
	}
	a.server, a.from = server, from
	switch {
	case a.flagged("token-file"):
		a.tokenFrom, a.token = "from --token-file", storage.Secret{}
	case !a.token.IsZero():
		a.tokenFrom, a.tokenFile = "from "+tokenEnv, ""
	case a.tokenFile != "":
		a.tokenFrom = "from " + tokenFileEnv
	}
	if context != nil {
		a.join(*context)
	}
	a.resolved = true
	return nil
}

// choose returns the server, who named it in words, and its context, nil for none.
func (a *app) choose() (server, from string, context *contexts.Context, err error) {
	environment := a.getenv(serverEnv)
	name, nameFrom := a.contextName, "--context"
	switch {
	case a.flagged("server"):
		server, from = a.server, "from --server"
	case name == "" && environment != "":
		server, from = environment, "from "+serverEnv
	case name == "":
		name, nameFrom = a.getenv(contextEnv), contextEnv
	}
	for _, flag := range []string{"server", "context"} {
		if a.flagged(flag) && a.global.Lookup(flag).Value.String() == "" {
			return "", "", nil, usage("--%s: must not be empty", flag)
		}
	}
	file, err := a.loadContexts()
	if err != nil && server != "" && name == "" && (a.tokenFile != "" || !a.token.IsZero()) {
		a.warn(oneLine(err) + "; no context is used") // the server and the token are known without it
		return server, from, nil, nil
	}
	if err != nil {
		return "", "", nil, err
	}
	if name == "" && server == "" {
		name, nameFrom = file.Current, "current"
	}
	if name != "" {
		if context = file.Find(name); context == nil {
			return "", "", nil, noContext(file, name, nameFrom)
		}
	}
	switch {
	case context != nil && server == "":
		return context.Server, "from the context " + context.Name, context, nil
	case context != nil && !sameServer(context.Server, server):
		return "", "", nil, usage("--context %s is for %s, but --server names %s: give one of them", name, context.Server, server)
	case context == nil && server == "":
		return defaultServer, "the default", nil, nil
	case context == nil:
		context = contextOf(file, server)
	}
	return server, from, context, nil
}

func noContext(file *contexts.File, name, from string) error {
	if len(file.Contexts) == 0 {
		return usage("%s: there is no context %q; artifactstore login makes one", from, name)
	}
	return usage("%s: there is no context %q, but %s", from, name, strings.Join(file.Names(), ", "))
}

// contextOf returns the context for a server: the current one if that is for it.
func contextOf(file *contexts.File, server string) *contexts.Context {
	if current := file.Find(file.Current); current != nil && sameServer(current.Server, server) {
		return current
	}
	for i := range file.Contexts {
		if sameServer(file.Contexts[i].Server, server) {
			return &file.Contexts[i]
		}
	}
	return nil
}

// sameServer compares addresses as a browser would.
func sameServer(one, other string) bool {
	key := func(text string) string {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return text
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port + strings.TrimRight(u.Path, "/")
	}
	return key(one) == key(other)
}

// join takes from a context what neither flags nor the environment say.
func (a *app) join(c contexts.Context) {
	a.connection.context = c.Name
	if a.caFile == "" {
		a.caFile = c.CAFile
	}
	a.insecureToken = a.insecureToken || c.InsecureToken
	a.tunnel = a.tunnelOf(c)
	if a.tokenFrom == "" {
		if a.source = a.sourceOf(c); a.source != nil {
			a.tokenFrom = "from the context " + c.Name
		}
	}
}

// tunnelOf returns the way to a server that is a Service of a cluster, nil for others.
func (a *app) tunnelOf(c contexts.Context) *kubectl.Tunnel {
	address, err := url.Parse(c.Server)
	if c.Kubernetes == nil || !c.Kubernetes.PortForward || err != nil {
		return nil
	}
	service, is := serviceOf(address)
	if !is {
		return nil
	}
	tunnel := kubectl.Cluster{Context: c.Kubernetes.Context}.Tunnel(service)
	a.atEnd = append(a.atEnd, tunnel.Close)
	return tunnel
}

func serviceOf(address *url.URL) (kubectl.Service, bool) {
	port := address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[address.Scheme]
	}
	return kubectl.ServiceOf(address.Hostname(), port)
}

// sourceOf returns where a context has its token, nil if it has none.
func (a *app) sourceOf(c contexts.Context) credentials.Source {
	switch {
	case c.Kubernetes != nil:
		return a.kubernetesSource(c)
	case c.Token != "":
		return credentials.Fixed(storage.NewSecret(string(c.Token)))
	case c.TokenFile != "":
		return credentials.File(c.TokenFile)
	case c.TokenCommand != "":
		return credentials.Command(c.TokenCommand, a.stderr)
	case c.CredentialHelper != "":
		return credentials.Renewed(func() (storage.Secret, error) {
			return credentials.Helper{Name: c.CredentialHelper}.Get(credentials.Key(c.Server, c.Name))
		})
	}
	return nil
}

// kubernetesSource uses the token that is kept in the file until it expires, and then
// has kubectl make another one, which it keeps.
func (a *app) kubernetesSource(c contexts.Context) credentials.Source {
	kept := storage.NewSecret(string(c.Token))
	return credentials.Renewed(func() (storage.Secret, error) {
		if !kept.IsZero() && !credentials.Expiring(kept, time.Now()) {
			return kept, nil
		}
		token, err := kubernetesToken(context.Background(), c.Kubernetes)
		if err != nil {
			return storage.Secret{}, err
		}
		kept = token
		err = contexts.Update(contexts.Path(a.getenv), a.warn, func(file *contexts.File) error {
			// Unless somebody has changed the context in the meantime.
			if there := file.Find(c.Name); there != nil && there.Kubernetes != nil && *there.Kubernetes == *c.Kubernetes {
				there.Token = contexts.Token(token.Reveal())
			}
			return nil
		})
		if err != nil {
			a.warn("the new token is not kept: " + oneLine(err))
		}
		return token, nil
	})
}

func kubernetesToken(ctx context.Context, k *contexts.Kubernetes) (storage.Secret, error) {
	return kubectl.Cluster{Context: k.Context}.Token(ctx, kubectl.Account{
		Namespace: k.Namespace, Name: k.ServiceAccount, Audience: k.Audience, Duration: k.Duration,
	})
}

// close ends what the run has started.
func (a *app) close() {
	for _, end := range a.atEnd {
		end()
	}
}
