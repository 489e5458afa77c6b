package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) showCommand() *cobra.Command {
	var at uint64
	command := &cobra.Command{
		Use:               "show PRODUCER/NAME[@VERSION|:TAG]",
		Short:             "Describe one package",
		Long:              "Describe one package: who published it, when, where it is, and how large it is.\n\n" + packageWays,
		Example:           "  artifactstore show ci/webapp@1.4.2\n  artifactstore show ci/webapp:stable",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePackages,
		RunE:              a.verb(func(ctx context.Context, args []string) error { return a.show(ctx, args[0], at) }),
	}
	atFlag(command, &at)
	return command
}

func (a *app) show(ctx context.Context, name string, at uint64) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ref, err := a.findRef(ctx, client, name, at)
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
	tags, err := tagsOf(ctx, client, ref, at)
	if err != nil {
		return named(ref.String(), err)
	}
	shown := struct {
		registry.Package
		Tags    []string               `json:"tags,omitempty"`
		Damaged []registry.DamagedFile `json:"damaged,omitempty"`
	}{p, tags, damaged}
	return a.print(shown, func(w *tabwriter.Writer) {
		field(w, "package", p.PackageRef)
		field(w, "tags", strings.Join(tags, ", "))
		field(w, "published", describeTime(p.Published))
		field(w, "by", p.Actor)
		field(w, "files", p.Files)
		field(w, "size", fmt.Sprintf("%s (%d bytes)", size(p.Bytes), p.Bytes))
		field(w, "retention class", p.RetentionClass)
		field(w, "tier", p.Tier)
		field(w, "backend", backendOf(p))
		field(w, "media type", p.MediaType)
		field(w, "manifest", fmt.Sprintf("%s (%d bytes)", p.ManifestDigest, p.ManifestSize))
		field(w, "position", p.Position)
		if len(damaged) > 0 {
			field(w, "damaged", damageOf(p.PackageRef, damaged))
		}
		for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
			field(w, "annotation "+key, p.Annotations[key])
		}
	})
}

// tagsOf lists the tags that point to a version. Who may not list them sees none.
func tagsOf(ctx context.Context, client registry.Tags, ref registry.PackageRef, at uint64) (names []string, err error) {
	for query := (registry.TagQuery{Producer: ref.Producer, Name: ref.Name, At: at, Limit: registry.MaxPackagePage}); ; {
		page, err := client.ListTags(ctx, query)
		if errors.Is(err, access.ErrForbidden) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tags {
			if t.Version == ref.Version {
				names = append(names, t.Tag)
			}
		}
		if query.After = page.Next; page.Next == "" {
			return names, nil
		}
	}
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
