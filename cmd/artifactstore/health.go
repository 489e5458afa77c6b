package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Show the registry's health; exit 1 if it is not ok",
		Args:  cobra.NoArgs,
		RunE:  a.verb(a.health),
	}
}

func (a *app) health(ctx context.Context, _ []string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	h, err := client.Health(ctx)
	if err != nil {
		return err
	}
	err = a.print(h, func(w *tabwriter.Writer) {
		field(w, "status", h.Status)
		for _, reason := range h.Reasons {
			field(w, "reason", reason)
		}
		field(w, "log", fmt.Sprintf("%s at position %d", h.Log.LogID, h.Log.Position))
		fmt.Fprintln(w)
		backendRows(w, h.Backends)
	})
	if err != nil {
		return err
	}
	if h.Status != registry.HealthOK {
		return fmt.Errorf("the registry is %s: %s", h.Status, strings.Join(h.Reasons, "; "))
	}
	return nil
}
