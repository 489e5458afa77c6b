package rules

import (
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// Extras is what a package has beside files: links, folders and modes. A session has no
// rows for them: they come with the client's manifest, and are checked as it is encoded.
type Extras struct {
	Links   []manifest.Link
	Folders []manifest.Folder
	modes   []manifest.Mode // of the files, by path; nil if none has one
}

// ExtrasOf returns the extras of a client's manifest, nil for none.
func ExtrasOf(encoded []byte) (e Extras, err error) {
	if version, err := manifest.VersionOf(encoded); err != nil || version == 1 {
		return e, nil // what is wrong with it is told when it is compared
	}
	each, moded := e.gather(), false
	each.File = func(_ int, f manifest.File) error {
		e.modes, moded = append(e.modes, f.Mode), moded || f.Mode.Recorded()
		return nil
	}
	_, err = manifest.WalkAll(encoded, each)
	if !moded {
		e.modes = nil
	}
	return e, ofManifest(err)
}

// gather collects links and folders, and refuses more than a package may have: a manifest
// of 32 MiB could name some millions.
func (e *Extras) gather() manifest.Each {
	room := func(list string) error {
		if e.Count() < manifest.MaxFiles {
			return nil
		}
		return registry.Invalid("manifest."+list, "must be at most %d together with files, links and folders", manifest.MaxFiles)
	}
	return manifest.Each{
		Link:   func(_ int, l manifest.Link) error { e.Links = append(e.Links, l); return room("links") },
		Folder: func(_ int, f manifest.Folder) error { e.Folders = append(e.Folders, f); return room("folders") },
	}
}

// Count and Texts are how many links and folders there are, and the bytes of their texts.
func (e *Extras) Count() int { return len(e.Links) + len(e.Folders) }

// Texts is described at Count.
func (e *Extras) Texts() (bytes int64) {
	for _, l := range e.Links {
		bytes += int64(len(l.Path) + len(l.Target))
	}
	for _, f := range e.Folders {
		bytes += int64(len(f.Path))
	}
	return bytes
}

// AddTo adds them to what the server knows of the package. Modes are those of files in
// the order of their paths; of other files they are left out, and the manifests differ.
func (e *Extras) AddTo(m *manifest.Manifest) {
	m.Links, m.Folders = e.Links, e.Folders
	if e.modes == nil || len(e.modes) != len(m.Files) {
		return
	}
	slices.SortFunc(m.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	for i := range m.Files {
		m.Files[i].Mode = e.modes[i]
	}
}
