// Command image makes the container image of static Linux programs, without a
// daemon and without a base image:
//
//	image --ref REF --out FILE.tar [--push] [--sbom FILE.json] [--programs NAME,...] FOLDER...
//	image --base FOLDER
//	image --sbom-beside PROGRAM...
//
// A folder holds the programs of one platform, manager and artifactstore unless
// others are named; several make an image index. FILE.tar is an OCI image layout that containerd,
// kind, podman and docker load. The SBOM (SPDX 2.3, of the modules that the
// programs themselves say they were built of) is attached as an OCI referrer.
// Equal programs, names and dates give equal bytes.
//
// The second form writes all that is in the image besides the programs into a
// folder, for the Dockerfile. The third writes the SBOM of each program, which may be
// for any system, into a file beside it, for a release.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// options of a run.
type options struct {
	ref, out, sbom    string
	base              string
	version, revision string
	created           time.Time
	push, beside      bool
	programs          []string // the first is what the image runs
	folders           []string
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string, output io.Writer) error {
	o := options{created: time.Unix(0, 0).UTC(), programs: []string{"manager", "artifactstore"}}
	set := flag.NewFlagSet("image", flag.ContinueOnError)
	set.StringVar(&o.ref, "ref", "", "`name` of the image, as registry.example.com/artifact-store:v1")
	set.StringVar(&o.out, "out", "", "`file` of the archive; none is written without it")
	set.StringVar(&o.sbom, "sbom", "", "`file` for the SBOM of the first folder as well")
	set.StringVar(&o.base, "base", "", "write what is in the image besides the programs into this `folder`, and do nothing else")
	set.BoolVar(&o.beside, "sbom-beside", false, "write the SBOM of each program into PROGRAM.spdx.json, and do nothing else")
	set.StringVar(&o.version, "version", "devel", "`version` of the programs")
	set.StringVar(&o.revision, "revision", "", "`commit` that they are built of")
	set.Func("programs", "`names` of the programs, with commas between; the first is what the image runs (default manager,artifactstore)", func(text string) error {
		o.programs = strings.Split(text, ",")
		return nil
	})
	set.BoolVar(&o.push, "push", false, "push it, with the credentials of the user's docker or podman configuration")
	set.Func("created", "`seconds` since 1970 that the image says it was made at (default 0)", func(text string) error {
		var seconds int64
		_, err := fmt.Sscan(text, &seconds)
		o.created = time.Unix(seconds, 0).UTC()
		return err
	})
	if err := set.Parse(args); err != nil {
		return err
	}
	if o.base != "" {
		return writeBase(o.base)
	}
	if o.beside {
		return writeSBOMs(o, set.Args())
	}
	if o.folders = set.Args(); len(o.folders) == 0 {
		return errors.New("name the folders of the programs, one for each platform")
	}
	ref, err := name.ParseReference(o.ref)
	if err != nil {
		return fmt.Errorf("--ref: %w", err)
	}
	built, err := build(o)
	if err != nil {
		return err
	}
	if o.sbom != "" {
		if err := os.WriteFile(o.sbom, built.images[0].sbom, 0o644); err != nil { //nolint:gosec // it is for everybody
			return err
		}
	}
	if o.out != "" {
		if err := writeArchive(built, fullName(ref), o.out); err != nil {
			return fmt.Errorf("writing %s: %w", o.out, err)
		}
		fmt.Fprintf(output, "%s: %s\n", o.out, fullName(ref))
	}
	if o.push {
		if err := push(built, ref, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("pushing %s: %w", ref, err)
		}
		digest, err := built.digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(output, "pushed %s@%s\n", ref.Context().Name(), digest)
	}
	return nil
}

// push sends the images and, to each, its SBOM. The name comes last: who finds it finds all.
func push(b built, ref name.Reference, opts ...remote.Option) error {
	for _, image := range b.images {
		digest, err := image.image.Digest()
		if err != nil {
			return err
		}
		if err := remote.Write(ref.Context().Digest(digest.String()), image.image, opts...); err != nil {
			return err
		}
		attached, err := image.referrer.Digest()
		if err != nil {
			return err
		}
		if err := remote.Write(ref.Context().Digest(attached.String()), image.referrer, opts...); err != nil {
			return fmt.Errorf("the SBOM: %w", err)
		}
	}
	if b.index != nil {
		return remote.WriteIndex(ref, b.index, opts...)
	}
	return remote.Write(ref, b.images[0].image, opts...)
}

// fullName is the name as containerd keeps it.
func fullName(ref name.Reference) string {
	return strings.Replace(ref.Name(), "index.docker.io/", "docker.io/", 1)
}
