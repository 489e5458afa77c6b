package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// buildVersion is set by the linker (-X main.buildVersion=…); see the Makefile.
var buildVersion string

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(context.Context, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{programVersion(), runtime.Version()}
			return a.print(v, func(w *tabwriter.Writer) { row(w, "artifactstore", v.Version, v.Go) })
		}),
	}
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
