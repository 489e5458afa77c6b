package main

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	programFolder = "usr/local/bin"
	// user is a number, so that runAsNonRoot can be checked without a look at passwd.
	user = "65532:65532"
	home = "https://github.com/coulomb/artifact-store"
)

// program is an executable and what it says of how it was built.
type program struct {
	name    string
	content []byte
	info    *debug.BuildInfo
}

// platformImage is the image for one platform, and what refers to it.
type platformImage struct {
	image    v1.Image
	sbom     []byte   // SPDX
	referrer v1.Image // that has the SBOM
}

// built is an image for one platform or, with an index, for several.
type built struct {
	images []platformImage
	index  v1.ImageIndex // nil for one
}

func (b built) digest() (v1.Hash, error) {
	if b.index != nil {
		return b.index.Digest()
	}
	return b.images[0].image.Digest()
}

func build(o options) (built, error) {
	var b built
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, folder := range o.folders {
		image, platform, err := buildPlatform(o, folder)
		if err != nil {
			return built{}, fmt.Errorf("%s: %w", folder, err)
		}
		b.images = append(b.images, image)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image.image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	if len(b.images) > 1 {
		b.index = index
	}
	return b, nil
}

func buildPlatform(o options, folder string) (platformImage, v1.Platform, error) {
	programs, platform, err := readPrograms(folder, o.programs)
	if err != nil {
		return platformImage{}, platform, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	// What seldom changes comes first: a new version then is one layer to fetch.
	for _, entries := range [][]entry{baseEntries(), programEntries(programs)} {
		layer, err := layerOf(entries)
		if err != nil {
			return platformImage{}, platform, err
		}
		if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: o.created}, CreatedBy: "make image"}}); err != nil {
			return platformImage{}, platform, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return platformImage{}, platform, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: o.created}
	config.Config = v1.Config{
		Entrypoint: []string{"/" + programFolder + "/" + o.programs[0]},
		Env:        []string{"PATH=/" + programFolder},
		User:       user, WorkingDir: "/",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8081/tcp": {}, "8443/tcp": {}},
		Labels:       labels(o),
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return platformImage{}, platform, err
	}
	annotated, ok := mutate.Annotations(image, labels(o)).(v1.Image)
	if !ok {
		return platformImage{}, platform, fmt.Errorf("annotations made something else of the image")
	}
	result := platformImage{image: annotated}
	if result.sbom, err = spdx(o, programs); err != nil {
		return platformImage{}, platform, err
	}
	result.referrer, err = referTo(annotated, result.sbom)
	return result, platform, err
}

func labels(o options) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":    "artifact-store",
		"org.opencontainers.image.source":   home,
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  o.version,
	}
	if o.revision != "" {
		all["org.opencontainers.image.revision"] = o.revision
	}
	return all
}

// readPrograms reads them, and refuses what would not run in an empty image.
func readPrograms(folder string, names []string) ([]program, v1.Platform, error) {
	var programs []program
	var platform v1.Platform
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, platform, err
		}
		info, err := buildinfo.Read(bytes.NewReader(content))
		if err != nil {
			return nil, platform, fmt.Errorf("%s: %w", name, err)
		}
		settings := map[string]string{}
		for _, setting := range info.Settings {
			settings[setting.Key] = setting.Value
		}
		if settings["CGO_ENABLED"] != "0" {
			return nil, platform, fmt.Errorf("%s: was not built with CGO_ENABLED=0, and would not run in an empty image", name)
		}
		its := v1.Platform{OS: settings["GOOS"], Architecture: settings["GOARCH"]}
		if its.Architecture == "arm" {
			its.Variant = "v" + settings["GOARM"][:1]
		}
		if its.OS != "linux" || len(programs) > 0 && !its.Equals(platform) {
			return nil, platform, fmt.Errorf("%s: is for %s; all must be for Linux and one machine", name, its)
		}
		platform = its
		programs = append(programs, program{name, content, info})
	}
	return programs, platform, nil
}

// entry is a file of the image, or a folder (content nil).
type entry struct {
	name    string
	mode    int64
	content []byte
}

func baseEntries() []entry {
	return []entry{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte("root:x:0:\nnonroot:x:65532:\n")},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")},
		{"etc/ssl/", 0o755, nil},
		{"etc/ssl/certs/", 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, authorities()},
		{"tmp/", 0o1777, nil},
	}
}

// writeBase writes the base entries into a folder.
func writeBase(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // as mkdir does
		return err
	}
	for _, e := range baseEntries() {
		path, err := filepath.Join(folder, e.name), error(nil)
		if e.content == nil {
			err = os.Mkdir(path, 0o755) //nolint:gosec // it gets its mode below
		} else {
			err = os.WriteFile(path, e.content, 0o600)
		}
		if err != nil {
			return err
		}
		if err := os.Chmod(path, (&tar.Header{Mode: e.mode}).FileInfo().Mode()); err != nil { // whatever the umask
			return err
		}
	}
	return nil
}

func programEntries(programs []program) []entry {
	entries := []entry{{"usr/", 0o755, nil}, {"usr/local/", 0o755, nil}, {programFolder + "/", 0o755, nil}}
	for _, p := range programs {
		entries = append(entries, entry{programFolder + "/" + p.name, 0o755, p.content})
	}
	return entries
}

// authorities are Mozilla's, as the pinned module has them. One whose trust has
// a condition (only certificates before a day, say) is left out: a file of
// certificates cannot say it.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) //nolint:errcheck // a buffer takes all
		}
	}
	return all.Bytes()
}

// layerOf packs entries, owned by root and without times.
func layerOf(entries []entry) (v1.Layer, error) {
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if e.content == nil {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
