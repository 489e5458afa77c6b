package main

import (
	"errors"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// publishedWithout counts what a version lacks that was published by a client which left
// it out, and which is the same otherwise.
type publishedWithout struct {
	Links        int `json:"links,omitempty"`
	EmptyFolders int `json:"emptyFolders,omitempty"`
}

func (p publishedWithout) String() string {
	var parts []string
	if p.Links > 0 {
		parts = append(parts, plural(p.Links, "link"))
	}
	if p.EmptyFolders > 0 {
		parts = append(parts, plural(p.EmptyFolders, "empty folder"))
	}
	return strings.Join(parts, " and ")
}

// manifestOf is the manifest of a hashed tree, with these links, and with folders.
func manifestOf(o registry.OpenUpload, t *localTree, links []manifest.Link, folders bool) *manifest.Manifest {
	m := &manifest.Manifest{
		Producer: o.Producer, Name: o.Name, Version: o.Version,
		MediaType: o.MediaType, Annotations: o.Annotations, Files: make([]manifest.File, len(t.files)), Links: links,
	}
	for i := range t.files {
		m.Files[i] = t.files[i].manifestFile()
	}
	if folders {
		m.Folders = t.listed(links)
	}
	return m
}

// without finds out whether the version that is published by a manifest is this tree, but
// for links or empty folders: clients could once not record them. It returns the encoded
// manifest, nil if it is another. Modes make a difference: they are recorded on request.
func without(existing digest.Digest, t *localTree, o registry.OpenUpload) (encoded []byte, lacks publishedWithout, err error) {
	empty := manifestOf(o, t, t.links, true).EmptyFolders()
	for _, c := range []struct{ links, folders bool }{{false, false}, {false, true}, {true, false}} {
		links := t.links
		lacks = publishedWithout{}
		if !c.links {
			links, lacks.Links = nil, len(t.links)
		}
		if !c.folders {
			lacks.EmptyFolders = empty
		}
		if lacks == (publishedWithout{}) {
			continue
		}
		encoded, err = manifest.Encode(manifestOf(o, t, links, c.folders))
		if err != nil || manifest.Digest(encoded) == existing {
			return encoded, lacks, err
		}
	}
	return nil, publishedWithout{}, nil
}

// takenBy returns the conflict that a push met if the version is published otherwise.
func takenBy(err error) *registry.ConflictError {
	var conflict *registry.ConflictError
	if errors.As(err, &conflict) && conflict.Field == "version" && !conflict.Existing.IsZero() {
		return conflict
	}
	return nil
}
