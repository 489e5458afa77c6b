package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) backendsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backends",
		Short: "List backends, their readiness and their verification results",
		Args:  cobra.NoArgs,
		RunE:  a.verb(a.backends),
	}
}

func (a *app) backends(ctx context.Context, _ []string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	backends, err := client.ListBackends(ctx)
	if err != nil {
		return err
	}
	all := struct {
		Backends []registry.BackendStatus `json:"backends"`
	}{append([]registry.BackendStatus{}, backends...)}
	return a.print(all, func(w *tabwriter.Writer) { backendRows(w, backends) })
}

func backendRows(w *tabwriter.Writer, backends []registry.BackendStatus) {
	row(w, "BACKEND", "DRIVER", "READY", "VERIFIED", "LOCATIONS", "FAILED", "LAST VERIFIED", "ID", "MESSAGE")
	for _, b := range backends {
		row(w, b.Name, b.Driver, readiness(b), b.Verified, b.Findings.Live+b.Findings.Failed, b.Findings.Failed,
			moment(b.Findings.LastVerified), b.ID, b.Message)
	}
}

func readiness(b registry.BackendStatus) string {
	switch {
	case !b.Ready && b.Reason != "":
		return fmt.Sprintf("False (%s)", b.Reason)
	case !b.Ready:
		return "False"
	case b.ReadOnly:
		return "True (read only)"
	default:
		return "True"
	}
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
