package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/cmd/artifactstore/selection"
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
	exclude        globs
	includeSecrets []string
	preserveModes  bool
	strict         bool
	dryRun         bool
	tar            string // archive that is pushed instead of arguments
	path           string // of standard input
}

func (a *app) pushCommand() *cobra.Command {
	var o pushOptions
	command := &cobra.Command{
		Use:   "push DIR|FILE|DIR=PREFIX|FILE=PATH|-...",
		Short: "Publish the content of a folder, or single files, as a package",
		Long: `Publish the content of DIR (with paths relative to it), or each FILE under its
base name, as the package producer/name@version. Several folders need prefixes:
DIR=PREFIX publishes DIR below the path PREFIX, FILE=PATH publishes FILE as
PATH, and "-" is standard input, published as --path. Bytes that the registry
already has are not sent. Publishing the same content again is not an error. A
push that was interrupted goes on when the same command runs again.

Symbolic links within DIR and empty folders are recorded. In a glob, "*" stays
within a component of a path, and "**" stands for any number of components.
Files named ` + selection.IgnoreFile + ` leave out what they list, in the syntax
of .gitignore; they are published themselves.`,
		Example: "  artifactstore push ./dist --producer ci --name webapp --version 1.4.2 \\\n    --retention-class release\n" +
			"  artifactstore push build/=bin docs/=docs --exclude '**/*.o' --dry-run \\\n    --producer ci --name tool --version 2.0 --retention-class release\n" +
			"  report | artifactstore push - --path report.json --producer ci \\\n    --name report --version 7 --retention-class evidence\n" +
			"  git archive HEAD | artifactstore push --tar - --producer ci --name source \\\n    --version 1.4.2 --retention-class release",
		Args: func(command *cobra.Command, args []string) error { return o.checkArgs(args) },
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.push(ctx, o, args) }),
	}
	flags := command.Flags()
	flags.StringVar(&o.Producer, "producer", "", "producer of the package")
	flags.StringVar(&o.Name, "name", "", "name of the package")
	flags.StringVar(&o.Version, "version", "", "version of the package")
	flags.StringVar(&o.RetentionClass, "retention-class", "", "retention class of the package")
	flags.StringVar(&o.tier, "tier", string(registry.TierHot), "how soon the package must be readable: hot,\nwarm or cold")
	flags.StringVar(&o.MediaType, "media-type", "", "media type of the package")
	flags.Var((*annotations)(&o.Annotations), "annotation", "text to record in the manifest; may be repeated")
	flags.Var(&o.exclude, "exclude", "leave out what a glob matches; may be repeated")
	flags.StringArrayVar(&o.includeSecrets, "include-secrets", nil, "publish the file or folder at this `path` of the\npackage although it holds secrets; may be\nrepeated")
	flags.BoolVar(&o.followSymlinks, "follow-symlinks", false, "push what symbolic links point to, within the\nfolder, instead of recording them")
	flags.BoolVar(&o.preserveModes, "preserve-modes", false, "record permission bits of files and folders")
	flags.BoolVar(&o.strict, "strict", false, "refuse a tree if something of it is not\nrecorded; times never are")
	flags.BoolVar(&o.dryRun, "dry-run", false, "show what would be sent, reused and left out")
	flags.StringVar(&o.tar, "tar", "", "push what a tar `archive` has, compressed by gzip\nor not; - reads standard input")
	flags.StringVar(&o.path, "path", "", "path in the package of standard input")
	flags.IntVar(&o.concurrency, "concurrency", defaultConcurrency, "files sent in parallel")
	require(command, "producer", "name", "version", "retention-class")
	complete(command, "tier", string(registry.TierHot), string(registry.TierWarm), string(registry.TierCold))
	return command
}

// checkArgs decides which arguments go together.
func (o *pushOptions) checkArgs(args []string) error {
	standard := 0
	for _, arg := range args {
		if arg == standardInput {
			standard++
		}
	}
	switch {
	case o.tar != "" && len(args) > 0:
		return usage("--tar: is instead of folders and files, not beside %s", args[0])
	case o.tar == "" && len(args) == 0:
		return usage("requires a folder, a file, - or --tar")
	case standard > 1:
		return usage("-: standard input can be read once")
	case standard == 1 && o.path == "":
		return usage("-: requires --path, the path of standard input in the package")
	case standard == 0 && o.path != "":
		return usage("--path: is the path of standard input, so it requires -")
	}
	if o.path != "" {
		if err := manifest.ValidatePath(o.path); err != nil {
			return usage("--%w", err)
		}
	}
	return nil
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
	// Pin names exactly this: its manifest has the digests of all bytes.
	Pin         string `json:"pin"`
	SentFiles   int    `json:"sentFiles"`
	SentBytes   int64  `json:"sentBytes"`
	ReusedFiles int    `json:"reusedFiles"`
	ReusedBytes int64  `json:"reusedBytes"`
	recordedOf
	// PublishedWithout says what the version lacks, which was published before.
	PublishedWithout *publishedWithout `json:"publishedWithout,omitempty"`
}

// recordedOf says what else than files is in a package, and what of the tree is not.
type recordedOf struct {
	Links        int      `json:"links,omitempty"`
	EmptyFolders int      `json:"emptyFolders,omitempty"`
	LeftOut      int      `json:"leftOut,omitempty"` // entries, a folder with all that is in it being one
	Unmatched    []string `json:"unmatchedExcludes,omitempty"`
	NotRecorded  []string `json:"notRecorded,omitempty"`
}

func (r recordedOf) print(w *tabwriter.Writer) {
	if r.Links > 0 {
		field(w, "links", r.Links)
	}
	if r.EmptyFolders > 0 {
		field(w, "empty folders", r.EmptyFolders)
	}
}

// printLines says what is not in the package.
func (r recordedOf) printLines(w *tabwriter.Writer) {
	for _, glob := range r.Unmatched {
		fmt.Fprintf(w, "--exclude %s: nothing matches\n", shown(glob))
	}
	fmt.Fprintf(w, "not recorded: %s\n", strings.Join(r.NotRecorded, "; "))
}

func (a *app) push(ctx context.Context, o pushOptions, args []string) error {
	o.Tier = registry.Tier(o.tier)
	if err := o.OpenUpload.Validate(); err != nil {
		return asUsage(err)
	}
	if o.concurrency < 1 {
		return usage("concurrency: must be at least 1, is %d", o.concurrency)
	}
	tree, err := a.gather(ctx, o, args)
	if err != nil {
		return err
	}
	defer tree.close()
	unrecorded := tree.notRecorded()
	if o.strict {
		if err := refuseUnrecorded(unrecorded); err != nil {
			return err
		}
	}
	m := manifestOf(o.OpenUpload, tree, tree.links, true)
	encoded, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	also := recordedOf{
		Links: len(m.Links), EmptyFolders: m.EmptyFolders(), LeftOut: len(tree.leftOut),
		Unmatched: tree.unmatched(o.exclude), NotRecorded: append([]string{"times"}, unrecorded...),
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.dryRun(ctx, client, o, tree, encoded, also)
	}
	result, err := a.publishTree(ctx, client, o, tree, encoded, also)
	if err != nil {
		return err
	}
	result.Pin = result.Producer + "/" + result.Name + "@" + result.ManifestDigest.String()
	tree.close() // who reads the result may end this program
	return a.print(result, func(w *tabwriter.Writer) {
		field(w, "package", result.PackageRef)
		field(w, "manifest", result.ManifestDigest)
		field(w, "pull", "artifactstore pull "+result.Pin)
		field(w, "backend", result.Backend)
		field(w, "position", result.Position)
		field(w, "files", result.Files)
		field(w, "bytes", result.Bytes)
		result.recordedOf.print(w)
		field(w, "sent", fmt.Sprintf("%d files, %d bytes", result.SentFiles, result.SentBytes))
		field(w, "reused", fmt.Sprintf("%d files, %d bytes", result.ReusedFiles, result.ReusedBytes))
		if result.LeftOut > 0 {
			field(w, "left out", entries(result.LeftOut))
		}
		if result.PublishedWithout != nil {
			fmt.Fprintf(w, "published before without %s; it is the same otherwise\n", result.PublishedWithout)
		}
		result.recordedOf.printLines(w)
	})
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// gather finds and hashes what is to be pushed, and refuses secrets.
func (a *app) gather(ctx context.Context, o pushOptions, args []string) (tree *localTree, err error) {
	walk := walkOptions{follow: o.followSymlinks, modes: o.preserveModes, exclude: o.exclude, ignore: true, secrets: true}
	for _, path := range o.includeSecrets {
		path = strings.Trim(strings.TrimPrefix(path, "./"), "/")
		if path == "" {
			return nil, usage("--include-secrets: must be a path in the package")
		}
		walk.included = append(walk.included, path)
	}
	if o.tar != "" {
		tree, err = collectTar(ctx, o.tar, walk, a.stdin)
	} else {
		tree, err = collect(args, walk, &interruptible{ctx, a.stdin}, o.path)
	}
	if err != nil {
		return nil, err
	}
	if err := a.prepare(ctx, tree, walk.included, slices.Concat(args, []string{o.tar})[0]); err != nil {
		tree.close()
		return nil, err
	}
	return tree, nil
}

// prepare hashes what was found, unless it may not be pushed.
func (a *app) prepare(ctx context.Context, tree *localTree, included []string, name string) error {
	if len(tree.found) > 0 {
		if err := tree.noteKeys(); err != nil {
			return err
		}
		return tree.refuseSecrets()
	}
	if err := tree.checkIncluded(included); err != nil {
		return err
	}
	if len(tree.files) == 0 {
		return fmt.Errorf("%s: contains no files", name)
	}
	hashing := a.meter("hashing", totalSize(tree.files))
	err := hashFiles(ctx, tree.files, keepBudget, hashing)
	hashing.finish()
	if err != nil {
		return err
	}
	return tree.refuseSecrets()
}

// publishTree publishes a tree, or finds that it is published but for what clients could
// once not record.
func (a *app) publishTree(ctx context.Context, client registry.Registry, o pushOptions, tree *localTree, encoded []byte, also recordedOf) (pushed, error) {
	result, err := a.publish(ctx, client, o, tree.files, encoded)
	result.recordedOf = also
	conflict := takenBy(err)
	if conflict == nil {
		return result, explainOlder(err, encoded)
	}
	before, lacks, failed := without(conflict.Existing, tree, o.OpenUpload)
	switch {
	case failed != nil:
		return result, failed
	case before == nil:
		return result, err
	case o.strict:
		return result, fmt.Errorf("%s is published without %s, which --strict refuses: take another version", o.PackageRef, lacks)
	}
	result, err = a.publish(ctx, client, o, tree.files, before)
	result.recordedOf, result.PublishedWithout = also, &lacks
	result.Links, result.EmptyFolders = also.Links-lacks.Links, also.EmptyFolders-lacks.EmptyFolders
	return result, err
}

// explainOlder says why a registry of an earlier version refuses a manifest.
func explainOlder(err error, encoded []byte) error {
	var invalid *registry.InvalidError
	if version, _ := manifest.VersionOf(encoded); version > 1 && errors.As(err, &invalid) && strings.HasPrefix(invalid.Field, "manifest") {
		return fmt.Errorf("%w (a registry of an earlier version records no links, empty folders and modes)", err)
	}
	return err
}
