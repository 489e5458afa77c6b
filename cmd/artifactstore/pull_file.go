package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// oneFile finds the file that --file names.
func oneFile(m *manifest.Manifest, name string, from string) (manifest.File, error) {
	for _, f := range m.Files {
		if f.Path == name {
			return f, nil
		}
	}
	return manifest.File{}, fmt.Errorf("--file: %s has no file %q", from, name)
}

// pullToStdout writes one file to standard output. Bytes that are wrong have been
// written when that is noticed, but for the last ones.
func (a *app) pullToStdout(ctx context.Context, blobs registry.Blobs, f manifest.File) error {
	progress := a.meter("fetching", f.Size)
	defer progress.finish()
	return named(f.Path, a.stream(ctx, blobs, f, a.stdout, progress))
}

// placeOf says into which folder, and under which name, --to has the file written.
func placeOf(o pullOptions) (dir, name string, err error) {
	base := path.Base(o.file)
	if o.to == "" {
		return o.dir, base, nil
	}
	info, err := os.Stat(o.to)
	switch {
	case err == nil && info.IsDir():
		return o.to, base, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", "", err
	case err != nil && os.IsPathSeparator(o.to[len(o.to)-1]):
		return o.to, base, nil // a folder that is made
	}
	return filepath.Dir(o.to), filepath.Base(o.to), nil
}
