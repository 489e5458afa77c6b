package main

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// TestDockerfile holds the image of the Dockerfile to that of make image.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	productFolder(t)
	made, err := product()
	if err != nil {
		t.Fatal(err)
	}
	_, path := makeArchive(t, productFolder(t))
	image, _, _ := images(t, path)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Config, made.config); diff != "" {
		t.Errorf("configuration (-make image +Dockerfile):\n%s", diff)
	}
	if made.from != "scratch" {
		t.Errorf("the last stage is on %s", made.from)
	}
	if diff := cmp.Diff(filesOf(t, image), filesBelow(t, made.root)); diff != "" {
		t.Errorf("files (-make image +Dockerfile):\n%s", diff)
	}
}

// imageFile is what the two have in common of a file or folder.
type imageFile struct {
	Mode fs.FileMode // with the type
	Sum  [sha256.Size]byte
}

func filesOf(t *testing.T, image v1.Image) map[string]imageFile {
	t.Helper()
	files := map[string]imageFile{}
	extracted := mutate.Extract(image)
	defer extracted.Close()
	for reader := tar.NewReader(extracted); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(header.Name, "/")] = imageFile{header.FileInfo().Mode(), sha256.Sum256(content)}
	}
}

func filesBelow(t *testing.T, root string) map[string]imageFile {
	t.Helper()
	files := map[string]imageFile{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		name, err := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = imageFile{info.Mode(), sha256.Sum256(content)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var goBuildLine = regexp.MustCompile(`(?i)go build (-trimpath.*) -o `)

// TestOneWayToBuild: both build the programs with the same flags.
func TestOneWayToBuild(t *testing.T) {
	t.Parallel()
	flags := map[string]string{}
	for _, name := range []string{"Dockerfile", "hack/image.sh"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		joined := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\\\n", "")), " ")
		found := goBuildLine.FindStringSubmatch(joined)
		if found == nil || !strings.Contains(joined, "CGO_ENABLED=0 GOWORK=off") {
			t.Fatalf("%s: how it builds was not found", name)
		}
		flags[name] = strings.ToLower(found[1]) // $VERSION, $version
	}
	if flags["Dockerfile"] != flags["hack/image.sh"] {
		t.Errorf("%q", flags)
	}
}
