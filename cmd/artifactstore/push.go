package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// defaultConcurrency is the number of files in transit at the same time.
const defaultConcurrency = 8

type pushOptions struct {
	registry.OpenUpload
	tier           string
	followSymlinks bool
	concurrency    int
}

func (a *app) pushCommand() *cobra.Command {
	var o pushOptions
	command := &cobra.Command{
		Use:   "push DIR|FILE...",
		Short: "Publish the content of a folder, or single files, as a package",
		Long: `Publish the content of DIR (with paths relative to it), or each FILE under its
base name, as the package producer/name@version. Bytes that the registry already
has are not sent. Publishing the same content again is not an error.`,
		Example: "  artifactstore push ./dist --producer ci --name webapp --version 1.4.2 \\\n    --retention-class release",
		Args:    cobra.MinimumNArgs(1),
		RunE:    a.verb(func(ctx context.Context, args []string) error { return a.push(ctx, o, args) }),
	}
	flags := command.Flags()
	flags.StringVar(&o.Producer, "producer", "", "producer of the package")
	flags.StringVar(&o.Name, "name", "", "name of the package")
	flags.StringVar(&o.Version, "version", "", "version of the package")
	flags.StringVar(&o.RetentionClass, "retention-class", "", "retention class of the package")
	flags.StringVar(&o.tier, "tier", string(registry.TierHot), "how soon the package must be readable: hot,\nwarm or cold")
	flags.StringVar(&o.MediaType, "media-type", "", "media type of the package")
	flags.Var((*annotations)(&o.Annotations), "annotation", "text to record in the manifest; may be repeated")
	flags.BoolVar(&o.followSymlinks, "follow-symlinks", false, "push what symbolic links point to, instead\nof refusing them")
	flags.IntVar(&o.concurrency, "concurrency", defaultConcurrency, "files sent in parallel")
	require(command, "producer", "name", "version", "retention-class")
	complete(command, "tier", string(registry.TierHot), string(registry.TierWarm), string(registry.TierCold))
	return command
}

// annotations is the value of --annotation: each use of the flag is one, and the
// value may hold commas and further equals signs.
type annotations map[string]string

func (a *annotations) String() string { return "" }
func (a *annotations) Type() string   { return "key=value" }

func (a *annotations) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found {
		return errors.New("must be key=value")
	}
	if _, taken := (*a)[key]; taken {
		return fmt.Errorf("%q is given twice", key)
	}
	if *a == nil {
		*a = annotations{}
	}
	(*a)[key] = value
	return nil
}

type pushed struct {
	registry.Publication
	SentFiles   int   `json:"sentFiles"`
	SentBytes   int64 `json:"sentBytes"`
	ReusedFiles int   `json:"reusedFiles"`
	ReusedBytes int64 `json:"reusedBytes"`
}

func (a *app) push(ctx context.Context, o pushOptions, args []string) error {
	o.Tier = registry.Tier(o.tier)
	if err := o.OpenUpload.Validate(); err != nil {
		return asUsage(err)
	}
	if o.concurrency < 1 {
		return usage("concurrency: must be at least 1, is %d", o.concurrency)
	}
	files, err := collectFiles(args, o.followSymlinks)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: contains no files", args[0])
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	hashing := a.meter("hashing", totalSize(files))
	err = hashFiles(ctx, files, keepBudget, hashing)
	hashing.finish()
	if err != nil {
		return err
	}
	encoded, err := encodeManifest(o.OpenUpload, files)
	if err != nil {
		return err
	}
	result, err := a.publish(ctx, client, o, files, encoded)
	if err != nil {
		return err
	}
	return a.print(result, func(w *tabwriter.Writer) {
		field(w, "package", result.PackageRef)
		field(w, "manifest", result.ManifestDigest)
		field(w, "backend", result.Backend)
		field(w, "position", result.Position)
		field(w, "files", result.Files)
		field(w, "bytes", result.Bytes)
		field(w, "sent", fmt.Sprintf("%d files, %d bytes", result.SentFiles, result.SentBytes))
		field(w, "reused", fmt.Sprintf("%d files, %d bytes", result.ReusedFiles, result.ReusedBytes))
	})
}

func encodeManifest(o registry.OpenUpload, files []localFile) ([]byte, error) {
	m := manifest.Manifest{
		Producer: o.Producer, Name: o.Name, Version: o.Version,
		MediaType: o.MediaType, Annotations: o.Annotations, Files: make([]manifest.File, len(files)),
	}
	for i := range files {
		m.Files[i] = files[i].manifestFile()
	}
	return manifest.Encode(&m)
}
