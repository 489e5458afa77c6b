package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// buildVersion is set by the linker (-X main.buildVersion=…); see the Makefile.
var buildVersion string

// versionsTold is what version prints.
type versionsTold struct {
	Version string         `json:"version"`
	Go      string         `json:"go"`
	Server  *serverVersion `json:"server,omitempty"`
}

type serverVersion struct {
	Address string   `json:"address"`
	Version string   `json:"version,omitempty"`
	APIs    []string `json:"apis,omitempty"`
	// Error says why it is not known.
	Error string `json:"error,omitempty"`
}

// versionTimeout is short: the versions of this program are known in any case.
const versionTimeout = 5 * time.Second

func (a *app) versionCommand() *cobra.Command {
	var clientOnly bool
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program, of the registry, and of its API",
		Long: `Print the versions of this program, of the registry, and of its API. The exit
code is 0 also if the registry does not answer.`,
		Example: `  artifactstore version
  artifactstore version --client`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.version(ctx, clientOnly) }),
	}
	command.Flags().BoolVar(&clientOnly, "client", false, "do not ask the registry")
	return command
}

func (a *app) version(ctx context.Context, clientOnly bool) error {
	v := versionsTold{Version: programVersion(), Go: runtime.Version()}
	if !clientOnly {
		v.Server = a.serverVersion(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return a.print(v, func(w *tabwriter.Writer) {
		row(w, "artifactstore", v.Version, v.Go)
		switch s := v.Server; {
		case s == nil:
		case s.Error != "":
			row(w, "server", "not known: "+s.Error)
		default:
			row(w, "server", s.Version, s.Address)
			row(w, "API", strings.Join(s.APIs, ","))
		}
	})
}

func (a *app) serverVersion(ctx context.Context) *serverVersion {
	if err := a.resolve(); err != nil {
		return &serverVersion{Error: oneLine(err)}
	}
	s := &serverVersion{Address: a.server}
	// This needs no token: none is sent, nor asked of a helper.
	c := a.connection
	c.token, c.tokenFile, c.source = storage.Secret{}, "", nil
	asked, err := newClient(c)
	if err == nil {
		defer asked.Close()
		ctx, cancel := context.WithTimeout(ctx, versionTimeout)
		defer cancel()
		var info client.ServerInfo
		info, err = asked.ServerInfo(ctx)
		s.Version, s.APIs = info.Version, info.APIs
	}
	if err != nil {
		s.Error = oneLine(a.explain(ctx, err))
	}
	return s
}

// programVersion falls back on what `go install module@version` records.
func programVersion() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
