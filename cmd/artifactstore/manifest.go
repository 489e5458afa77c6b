package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func (a *app) manifestCommand() *cobra.Command {
	command := &cobra.Command{Use: "manifest", Short: "Show manifests and compare folders with them"}
	group(command)
	command.AddCommand(a.manifestShowCommand(), a.manifestVerifyCommand())
	return command
}

func (a *app) manifestShowCommand() *cobra.Command {
	var raw bool
	command := &cobra.Command{
		Use:               "show FILE|PRODUCER/NAME@VERSION",
		Short:             "Print the manifest in a file or of a package",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePackages,
		RunE:              a.verb(func(ctx context.Context, args []string) error { return a.manifestShow(ctx, args[0], raw) }),
	}
	command.Flags().BoolVar(&raw, "raw", false, "write the canonical CBOR bytes, for example to a file")
	return command
}

func (a *app) manifestShow(ctx context.Context, name string, raw bool) error {
	encoded, m, err := a.loadManifest(ctx, name)
	if err != nil {
		return err
	}
	if raw {
		_, err := a.stdout.Write(encoded)
		return err
	}
	shown := struct {
		Digest digest.Digest `json:"digest"`
		*manifest.Manifest
	}{manifest.Digest(encoded), m}
	return a.print(shown, func(w *tabwriter.Writer) {
		field(w, "package", registry.PackageRef{Producer: m.Producer, Name: m.Name, Version: m.Version})
		field(w, "manifest", shown.Digest)
		field(w, "media type", m.MediaType)
		field(w, "files", len(m.Files))
		field(w, "bytes", m.Bytes())
		recordedOf{Links: len(m.Links), EmptyFolders: m.EmptyFolders()}.print(w)
		fmt.Fprintln(w)
		printFiles(w, m)
		if len(m.Links) > 0 {
			fmt.Fprintln(w)
			row(w, "LINK", "TARGET")
			for _, l := range m.Links {
				row(w, l.Path, l.Target)
			}
		}
		if len(m.Folders) > 0 {
			fmt.Fprintln(w)
			row(w, "FOLDER", "MODE")
			for _, f := range m.Folders {
				row(w, f.Path, f.Mode)
			}
		}
	})
}

// printFiles has a column for modes if there are any.
func printFiles(w *tabwriter.Writer, m *manifest.Manifest) {
	if !m.HasModes() {
		row(w, "PATH", "SIZE", "EXECUTABLE", "SHA256", "BLAKE3")
		for _, f := range m.Files {
			row(w, f.Path, f.Size, f.Executable, f.Digests.SHA256, f.Digests.BLAKE3)
		}
		return
	}
	row(w, "PATH", "SIZE", "MODE", "SHA256", "BLAKE3")
	for _, f := range m.Files {
		row(w, f.Path, f.Size, f.Mode, f.Digests.SHA256, f.Digests.BLAKE3)
	}
}

// loadManifest reads the manifest file of that name. If there is none, name is a
// package, and its manifest comes from the registry.
func (a *app) loadManifest(ctx context.Context, name string) ([]byte, *manifest.Manifest, error) {
	info, err := os.Stat(name)
	if err == nil && info.Mode().IsRegular() {
		if info.Size() > manifest.MaxSize {
			return nil, nil, fmt.Errorf("%s: %d bytes, too large for a manifest (at most %d bytes)", name, info.Size(), manifest.MaxSize)
		}
		encoded, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		m, err := manifest.Decode(encoded)
		if err != nil {
			return nil, nil, integrity(name, "%v", err)
		}
		return encoded, m, nil
	}
	ref, refErr := registry.ParsePackageRef(name)
	if refErr != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, usage("%s: neither a file nor a package: %v", name, refErr)
		}
		return nil, nil, asUsage(refErr)
	}
	client, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	return readManifest(ctx, client, ref)
}
