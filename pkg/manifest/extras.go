package manifest

import (
	"bytes"
	"fmt"

	"github.com/coulomb/artifact-store/pkg/canonical"
)

// The extras are what schema version 2 has beside files: links, folders and modes.

type wireLink struct {
	Path   string `cbor:"path"`
	Target string `cbor:"target"`
}

type wireFolder struct {
	Path string `cbor:"path"`
	Mode *int64 `cbor:"mode,omitempty"`
}

// schemaVersion is the lowest that can say what m has.
func (m *Manifest) schemaVersion() int {
	if len(m.Links)+len(m.Folders) > 0 || m.HasModes() {
		return 2
	}
	return 1
}

// HasModes reports whether the mode of a file or folder is recorded.
func (m *Manifest) HasModes() bool {
	for i := range m.Files {
		if m.Files[i].Mode.Recorded() {
			return true
		}
	}
	for _, f := range m.Folders {
		if f.Mode.Recorded() {
			return true
		}
	}
	return false
}

// EmptyFolders is how many folders are listed that have nothing below them.
func (m *Manifest) EmptyFolders() int {
	above := make(map[string]bool)
	note := func(path string) {
		for at := lastSlash(path); at > 0 && !above[path[:at]]; at = lastSlash(path[:at]) {
			above[path[:at]] = true
		}
	}
	if len(m.Folders) > 0 { // else nobody asks
		for i := range m.Files {
			note(m.Files[i].Path)
		}
		for _, l := range m.Links {
			note(l.Path)
		}
		for _, f := range m.Folders {
			note(f.Path)
		}
	}
	n := 0
	for _, f := range m.Folders {
		if !above[f.Path] {
			n++
		}
	}
	return n
}

// extrasSize is how many bytes links and folders take, with their keys.
func (m *Manifest) extrasSize() (size int) {
	const key = 1 // the head of a short text
	if n := len(m.Links); n > 0 {
		size += key + len("links") + headSize(int64(n))
	}
	for _, l := range m.Links {
		size += 1 + key + len("path") + textSize(l.Path) + key + len("target") + textSize(l.Target)
	}
	if n := len(m.Folders); n > 0 {
		size += key + len("folders") + headSize(int64(n))
	}
	for _, f := range m.Folders {
		size += 1 + key + len("path") + textSize(f.Path) + f.Mode.encodedSize()
	}
	return size
}

func textSize(text string) int { return headSize(int64(len(text))) + len(text) }

// encodeExtras appends links and folders with their keys, whose place in the map is
// behind the files.
func (m *Manifest) encodeExtras(data *bytes.Buffer) error {
	if err := encodeList(data, "links", len(m.Links), func(i int) any { return (*wireLink)(&m.Links[i]) }); err != nil {
		return err
	}
	return encodeList(data, "folders", len(m.Folders), func(i int) any {
		return &wireFolder{m.Folders[i].Path, m.Folders[i].Mode.wire()}
	})
}

func encodeList(data *bytes.Buffer, key string, n int, item func(i int) any) error {
	if n == 0 {
		return nil
	}
	if err := canonical.MarshalTo(data, key); err != nil {
		return err
	}
	data.Write(canonical.AppendArrayHead(nil, n))
	for i := range n {
		if err := canonical.MarshalTo(data, item(i)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) decodeExtras(wire wireManifest) error {
	for _, l := range wire.Links {
		m.Links = append(m.Links, Link(l))
	}
	for i, f := range wire.Folders {
		folder, err := f.folder(i)
		if err != nil {
			return err
		}
		m.Folders = append(m.Folders, folder)
	}
	return nil
}

func (f *wireFolder) folder(i int) (Folder, error) {
	mode, err := modeOf(f.Mode, fmt.Sprintf("manifest.folders[%d].mode", i))
	return Folder{f.Path, mode}, err
}

// validateExtras checks each link and folder by itself.
func (m *Manifest) validateExtras() error {
	for i, l := range m.Links {
		if err := ValidatePath(l.Path); err != nil {
			return invalid(fmt.Sprintf("links[%d].path", i), "%s", err.(*InvalidError).Message)
		}
		if err := ValidateTarget(l.Path, l.Target); err != nil {
			return invalid(fmt.Sprintf("links[%d].target", i), "%s", err.(*InvalidError).Message)
		}
	}
	for i, f := range m.Folders {
		if err := ValidatePath(f.Path); err != nil {
			return invalid(fmt.Sprintf("folders[%d].path", i), "%s", err.(*InvalidError).Message)
		}
	}
	return nil
}
