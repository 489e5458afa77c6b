package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// Ways to name a package, for the help of the verbs that take one.
const packageWays = `A package is named by its version (me/api@1.4), by a tag (me/api:stable), by the
digest of its manifest (me/api@sha256:…), or by its name alone (me/api), which
is the newest: what the tag "latest" points to, else the highest release if all
versions are numbers such as 1.2.3, else the last published.`

// wanted is a package as it is named on the command line.
type wanted struct {
	producer, name string
	version, tag   string
	manifest       digest.Digest
	at             uint64 // position of the log; 0 is now
}

// parseWanted reads P/N, P/N@V, P/N@latest, P/N:TAG and P/N@sha256:….
func parseWanted(text string) (w wanted, err error) {
	producer, rest, slash := strings.Cut(text, "/")
	w.producer = producer
	bad := usage("%s: must be PRODUCER/NAME, PRODUCER/NAME@VERSION, PRODUCER/NAME:TAG or PRODUCER/NAME@sha256:DIGEST", shown(text))
	if !slash {
		return w, bad
	}
	name, what, at := strings.Cut(rest, "@")
	switch {
	case at && what == "":
		return w, bad
	case at && strings.HasPrefix(what, "sha256:"):
		if w.manifest, err = digest.Parse(what); err != nil {
			return w, usage("%s: %v", shown(text), err)
		}
	case at && what != registry.Latest:
		w.version = what
	case !at:
		var tagged bool
		if name, w.tag, tagged = strings.Cut(rest, ":"); tagged && w.tag == "" {
			return w, bad
		}
	}
	w.name = name
	if w.tag != "" {
		return w, asUsage(registry.TagRef{Producer: w.producer, Name: w.name, Tag: w.tag}.Validate())
	}
	version := w.version
	if version == "" {
		version = "0" // only the rest is checked
	}
	return w, asUsage(registry.PackageRef{Producer: w.producer, Name: w.name, Version: version}.Validate())
}

// resolve finds out which version is meant. Without a tag, a digest or a question for the
// newest it asks nobody.
func (w wanted) resolve(ctx context.Context, client registry.Registry) (registry.PackageRef, error) {
	ref := registry.PackageRef{Producer: w.producer, Name: w.name, Version: w.version}
	var err error
	switch {
	case w.version != "":
	case w.tag != "":
		ref.Version, err = w.byTag(ctx, client, w.tag)
	case !w.manifest.IsZero():
		ref.Version, err = w.byManifest(ctx, client)
	default:
		ref.Version, err = w.newest(ctx, client)
	}
	return ref, err
}

func (w wanted) byTag(ctx context.Context, client registry.Tags, tag string) (string, error) {
	ref := registry.TagRef{Producer: w.producer, Name: w.name, Tag: tag}
	found, err := client.GetTag(ctx, ref, w.at)
	if err != nil {
		return "", named(ref.String(), err)
	}
	return found.Version, nil
}

func (w wanted) byManifest(ctx context.Context, client registry.Blobs) (string, error) {
	page, err := client.FindUses(ctx, w.manifest, registry.UseQuery{Producer: w.producer})
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return "", err
	}
	for _, use := range page.Uses {
		if use.Path == "" && use.Name == w.name {
			return use.Version, nil
		}
	}
	return "", fmt.Errorf("%s/%s@%s: %w: no version of it has this manifest", w.producer, w.name, w.manifest, registry.ErrNotFound)
}

func (w wanted) newest(ctx context.Context, client registry.Registry) (string, error) {
	version, err := w.byTag(ctx, client, registry.Latest)
	if err == nil || !errors.Is(err, registry.ErrNotFound) {
		return version, err
	}
	var all []registry.Package
	filter := registry.PackageFilter{Producer: w.producer, Name: w.name, At: w.at, Limit: registry.MaxPackagePage}
	for {
		page, err := client.ListPackages(ctx, filter)
		if err != nil {
			return "", named(w.producer+"/"+w.name, err)
		}
		all = append(all, page.Packages...)
		if page.Next == "" {
			break
		}
		filter.After = page.Next
	}
	if len(all) == 0 {
		return "", fmt.Errorf("%s/%s: %w: no version is published", w.producer, w.name, registry.ErrNotFound)
	}
	return latest(all)[0].Version, nil
}

// findRef finds what a name means on the command line.
func (a *app) findRef(ctx context.Context, client registry.Registry, text string, at uint64) (registry.PackageRef, error) {
	w, err := parseWanted(text)
	if err != nil {
		return registry.PackageRef{}, err
	}
	w.at = at
	ref, err := w.resolve(ctx, client)
	if err != nil || at == 0 || w.version == "" && w.manifest.IsZero() { // what is asked of the registry takes the position there
		return ref, err
	}
	found, err := client.GetPackage(ctx, ref)
	if err != nil {
		return ref, named(ref.String(), err)
	}
	if found.Position > at {
		return ref, fmt.Errorf("%s: %w at position %d: it was published later, at %d", ref, registry.ErrNotFound, at, found.Position)
	}
	return ref, nil
}

// atFlag adds --at.
func atFlag(command *cobra.Command, at *uint64) {
	command.Flags().Uint64Var(at, "at", 0, "position of the log: answer as it was then; the same\nnumber gives the same answer for ever")
}
