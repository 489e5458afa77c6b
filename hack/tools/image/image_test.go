package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var programNames = []string{"manager", "artifactstore"}

// product is what the Dockerfile makes; its programs are those that the other tests pack.
var product = sync.OnceValues(func() (dockerImage, error) {
	folder, err := os.MkdirTemp("", "image-test-")
	if err != nil {
		return dockerImage{}, err
	}
	return dockerBuild(filepath.Join("..", "..", ".."), folder, map[string]string{
		"VERSION": "v1", "REVISION": "abc", "TARGETOS": "linux", "TARGETARCH": runtime.GOARCH,
	})
})

// goBuild is for Linux, with one more variable of the environment.
func goBuild(folder, env string, packages ...string) error {
	command := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", folder + "/"}, packages...)...)
	command.Dir, command.Env = filepath.Join("..", "..", ".."), append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", env)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", command.Args, err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if made, _ := product(); made.scratch != "" {
		os.RemoveAll(made.scratch)
	}
	os.Exit(code)
}

func productFolder(t *testing.T) string {
	t.Helper()
	made, err := product()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(made.root, programFolder)
}

// small is a folder of two programs that do nothing, under the names that are wanted.
func small(t *testing.T, env string) string {
	t.Helper()
	folder, source := t.TempDir(), filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range programNames {
		if err := goBuild(folder, env, source); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "main"), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// makeArchive runs the whole and returns the archive, and the layout in it.
func makeArchive(t *testing.T, folder string, args ...string) (file string, path layout.Path) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "image.tar")
	args = append([]string{"--ref", "registry.example.com/artifact-store:v1", "--out", file, "--version", "v1", "--revision", "abc", "--created", "1700000000"}, args...)
	if err := run(append(args, folder), io.Discard); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	for header, content := range unpack(t, file) {
		target := filepath.Join(into, header)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path, err := layout.FromPath(into)
	if err != nil {
		t.Fatal(err)
	}
	return file, path
}

func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	archive, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	files := map[string][]byte{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

// images of a layout: what is run, and what refers to it.
func images(t *testing.T, path layout.Path) (image, referrer v1.Image, manifest *v1.IndexManifest) {
	t.Helper()
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("%+v, %v; want an image and its SBOM", manifest, err)
	}
	if image, err = index.Image(manifest.Manifests[0].Digest); err != nil {
		t.Fatal(err)
	}
	if referrer, err = index.Image(manifest.Manifests[1].Digest); err != nil {
		t.Fatal(err)
	}
	return image, referrer, manifest
}

// TestProduct looks at the image of the real programs.
func TestProduct(t *testing.T) {
	t.Parallel()
	beside := filepath.Join(t.TempDir(), "sbom.json")
	file, path := makeArchive(t, productFolder(t), "--sbom", beside)
	image, referrer, index := images(t, path)
	t.Run("image", func(t *testing.T) { checkImage(t, image, index) })
	t.Run("files", func(t *testing.T) { checkFiles(t, image) })
	t.Run("docker", func(t *testing.T) { checkDocker(t, file) })
	t.Run("SBOM", func(t *testing.T) { checkSBOM(t, image, referrer, index, beside) })
}

func checkImage(t *testing.T, image v1.Image, index *v1.IndexManifest) {
	t.Helper()
	if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != "registry.example.com/artifact-store:v1" {
		t.Errorf("containerd calls it %q", got)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if config.OS != "linux" || config.Architecture != runtime.GOARCH || config.Created.Unix() != 1700000000 ||
		!slices.Equal(c.Entrypoint, []string{"/usr/local/bin/manager"}) || c.User != "65532:65532" ||
		!slices.Equal(c.Env, []string{"PATH=/usr/local/bin"}) || len(c.ExposedPorts) != 3 ||
		c.Labels["org.opencontainers.image.version"] != "v1" || c.Labels["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("the configuration is %+v", config)
	}
}

func checkFiles(t *testing.T, image v1.Image) {
	t.Helper()
	type found struct {
		mode    int64
		folder  bool
		content []byte
	}
	files := map[string]found{}
	extracted := mutate.Extract(image)
	defer extracted.Close()
	for reader := tar.NewReader(extracted); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Mode&0o022 != 0 && strings.Trim(header.Name, "/") != "tmp" {
			t.Errorf("%s: others may write it (%o, %d:%d)", header.Name, header.Mode, header.Uid, header.Gid)
		}
		files[strings.TrimSuffix(header.Name, "/")] = found{header.Mode, header.Typeflag == tar.TypeDir, content}
	}
	for _, name := range programNames {
		want, err := os.ReadFile(filepath.Join(productFolder(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if got := files["usr/local/bin/"+name]; got.mode != 0o755 || !bytes.Equal(got.content, want) {
			t.Errorf("%s: mode %o, %d bytes, want 755 and %d", name, got.mode, len(got.content), len(want))
		}
	}
	if tmp := files["tmp"]; !tmp.folder || tmp.mode != 0o1777 {
		t.Errorf("/tmp: %+v", tmp)
	}
	if !strings.Contains(string(files["etc/passwd"].content), ":65532:65532:") {
		t.Errorf("/etc/passwd: %s", files["etc/passwd"].content)
	}
	checkAuthorities(t, files["etc/ssl/certs/ca-certificates.crt"].content)
	if len(files) != 12 {
		t.Errorf("%d files and folders: more or less than are known here", len(files))
	}
}

// checkDocker: what docker load reads is there.
func checkDocker(t *testing.T, file string) {
	t.Helper()
	var docker []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	raw := unpack(t, file)
	if err := json.Unmarshal(raw["manifest.json"], &docker); err != nil || len(docker) != 1 || len(docker[0].Layers) != 2 ||
		docker[0].RepoTags[0] != "registry.example.com/artifact-store:v1" {
		t.Fatalf("manifest.json: %+v, %v", docker, err)
	}
	for _, name := range append(docker[0].Layers, docker[0].Config) {
		if len(raw[name]) == 0 {
			t.Errorf("manifest.json names %s, which is not there", name)
		}
	}
}

func checkAuthorities(t *testing.T, content []byte) {
	t.Helper()
	count := 0
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Error(err)
		}
		count++
	}
	if count < 80 {
		t.Errorf("%d certificate authorities", count)
	}
}

func TestEqualInputsEqualBytes(t *testing.T) {
	t.Parallel()
	folder := small(t, "")
	first, _ := makeArchive(t, folder)
	second, _ := makeArchive(t, folder)
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("two runs made different archives (%v, %v)", errA, errB)
	}
}

// TestPush sends it to a registry, and finds image and SBOM there.
func TestPush(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	ref := strings.TrimPrefix(server.URL, "http://") + "/artifact-store:v1"
	if err := run([]string{"--ref", ref, "--push", small(t, "")}, io.Discard); err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	referrers, err := remote.Referrers(parsed.Context().Digest(digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := referrers.IndexManifest()
	if err != nil || len(found.Manifests) != 1 {
		t.Fatalf("the registry knows of the referrers %+v, %v", found, err)
	}
	sbom, err := remote.Image(parsed.Context().Digest(found.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err := sbom.Manifest(); err != nil || manifest.ArtifactType != spdxMediaType || manifest.Layers[0].MediaType != spdxMediaType {
		t.Errorf("what refers to the image is %+v, %v", manifest, err)
	}
}

// TestSeveralPlatforms: an index names each platform's image.
func TestSeveralPlatforms(t *testing.T) {
	t.Parallel()
	b, err := build(options{programs: programNames, folders: []string{small(t, ""), small(t, "GOARCH=s390x")}})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := b.index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 || manifest.Manifests[0].Platform.Architecture != runtime.GOARCH || manifest.Manifests[1].Platform.Architecture != "s390x" {
		t.Errorf("%+v, %v", manifest, err)
	}
	out := filepath.Join(t.TempDir(), "out.tar")
	if err := writeArchive(b, "localhost/x:dev", out); err != nil {
		t.Fatal(err)
	}
	if files := unpack(t, out); files["index.json"] == nil || files["manifest.json"] != nil {
		t.Error("an archive of several platforms has an index, and no manifest for docker")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for says, args := range map[string][]string{
		"name the folders": {"--ref", "a"},
		"--ref":            {"--ref", "A:B:C", empty},
		"no such file":     {"--ref", "a", empty},
		"CGO_ENABLED=0":    {"--ref", "a", small(t, "CGO_ENABLED=1")},
	} {
		if err := run(args, io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want an error that says %q", args, err, says)
		}
	}
	// A program that is no Go program.
	for _, name := range programNames {
		if err := os.WriteFile(filepath.Join(empty, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{"--ref", "a", empty}, io.Discard); err == nil || !strings.Contains(err.Error(), "manager") {
		t.Errorf("a script: %v", err)
	}
}
