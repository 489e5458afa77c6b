package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// writeArchive writes an OCI image layout as a tar archive, with the file
// beside it that docker looks for (manifest.json) where there is one platform.
// It takes the place of an older one only when it is whole.
func writeArchive(b built, fullName, out string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil { //nolint:gosec // as mkdir does
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(out), ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is in the way of nothing
	path, err := layout.Write(filepath.Join(folder, "layout"), empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{"io.containerd.image.name": fullName, "org.opencontainers.image.ref.name": fullName})
	if b.index != nil {
		err = path.AppendIndex(b.index, named)
	} else {
		if err = path.AppendImage(b.images[0].image, named); err == nil {
			err = writeDockerManifest(path, b.images[0].image, fullName)
		}
	}
	if err != nil {
		return err
	}
	for _, image := range b.images {
		if err := path.AppendImage(image.referrer); err != nil {
			return err
		}
	}
	packed := filepath.Join(folder, "tar")
	if err := pack(string(path), packed); err != nil {
		return err
	}
	return os.Rename(packed, out)
}

func writeDockerManifest(path layout.Path, image v1.Image, fullName string) error {
	config, err := image.ConfigName()
	if err != nil {
		return err
	}
	digests, err := partial.FSLayers(image)
	if err != nil {
		return err
	}
	file := func(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }
	type manifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	made := manifest{Config: file(config), RepoTags: []string{fullName}}
	for _, digest := range digests {
		made.Layers = append(made.Layers, file(digest))
	}
	text, err := json.Marshal([]manifest{made})
	if err != nil {
		return err
	}
	return path.WriteFile("manifest.json", text, 0o644)
}

// pack writes a folder's files, sorted, without times and owners.
func pack(folder, out string) error {
	file, err := os.Create(out) //nolint:gosec // a path of the user's choice
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // closed below where it counts
	archive := tar.NewWriter(file)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return packFile(archive, folder, path)
	})
	if err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return file.Close()
}

func packFile(archive *tar.Writer, folder, path string) error {
	name, err := filepath.Rel(folder, path)
	if err != nil {
		return err
	}
	content, err := os.Open(path) //nolint:gosec // written above
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // it was only read
	info, err := content.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}
