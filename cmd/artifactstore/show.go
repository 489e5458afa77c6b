package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show PRODUCER/NAME@VERSION",
		Short:             "Describe one package",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePackages,
		RunE:              a.verb(a.show),
	}
}

func (a *app) show(ctx context.Context, args []string) error {
	ref, err := registry.ParsePackageRef(args[0])
	if err != nil {
		return asUsage(err)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	p, err := client.GetPackage(ctx, ref)
	if err != nil {
		return named(ref.String(), err)
	}
	damaged, err := listDamaged(ctx, client, registry.DamageFilter{Producer: ref.Producer, Name: ref.Name, Version: ref.Version})
	if err != nil {
		return named(ref.String(), err)
	}
	shown := struct {
		registry.Package
		Damaged []registry.DamagedFile `json:"damaged,omitempty"`
	}{p, damaged}
	return a.print(shown, func(w *tabwriter.Writer) {
		field(w, "package", p.PackageRef)
		field(w, "manifest", fmt.Sprintf("%s (%d bytes)", p.ManifestDigest, p.ManifestSize))
		field(w, "media type", p.MediaType)
		field(w, "retention class", p.RetentionClass)
		field(w, "tier", p.Tier)
		field(w, "files", p.Files)
		field(w, "bytes", p.Bytes)
		field(w, "backend", backendOf(p))
		field(w, "position", p.Position)
		field(w, "published", p.Published.Format(time.RFC3339))
		field(w, "actor", p.Actor)
		if len(damaged) > 0 {
			field(w, "damaged", damageOf(p.PackageRef, damaged))
		}
		for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
			field(w, "annotation "+key, p.Annotations[key])
		}
	})
}

// backendOf says where a package is, and whether its backend was abandoned.
func backendOf(p registry.Package) string {
	if p.Abandoned == 0 {
		return backendName(p.Backend, p.BackendID)
	}
	return fmt.Sprintf("%s (abandoned by event %d)", p.BackendID, p.Abandoned)
}

// backendName returns a backend's name, or its id if it is no longer declared.
func backendName(name, id string) string {
	if name == "" && id != "" {
		return id + " (not declared)"
	}
	return name
}
