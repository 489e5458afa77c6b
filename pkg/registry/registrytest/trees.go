package registrytest

import (
	"bytes"
	"errors"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// treeCases publish what has links, folders and modes, which come by the manifest.
var treeCases = []testCase{
	{"links, folders and modes", trees},
	{"links, folders and modes that are refused", badTrees},
}

var treeFiles = []file{{"bin/tool", "tool", true}, {"doc", "text", false}}

// tree is the manifest of treeFiles, with more.
func (s suite) tree(req registry.OpenUpload) []byte {
	s.Helper()
	m, err := manifest.Decode(s.encoded(req, treeFiles...))
	s.must(err)
	m.Files[0].Mode = manifest.ModeOf(0o750)
	m.Links = []manifest.Link{{Path: "bin/it", Target: "tools/x/y/z"}, {Path: "latest", Target: "bin"}}
	m.Folders = []manifest.Folder{{Path: "bin", Mode: manifest.ModeOf(0o700)}, {Path: "var/empty"}}
	data, err := manifest.Encode(m)
	s.must(err)
	return data
}

func trees(s suite) {
	encoded := s.tree(version("1"))
	got, err := s.publishEncoded(version("1"), encoded, treeFiles...)
	s.must(err)
	equal(s, "manifest", got.ManifestDigest, manifest.Digest(encoded))
	upload := s.open(version("1"))
	s.fill(upload.ID, treeFiles)
	for range 2 {
		again, err := s.r.Publish(s.ctx, upload.ID, encoded)
		s.must(err)
		equal(s, "in a session", again.Position, got.Position)
	}
	back, err := s.r.GetManifest(s.ctx, got.ManifestDigest)
	s.must(err)
	equal(s, "the manifest that comes back", string(back), string(encoded))
	_, err = s.r.FindFile(s.ctx, version("1").PackageRef, "bin/it")
	s.is(err, registry.ErrNotFound)
	var conflict *registry.ConflictError
	if _, err = s.publishAtOnce(version("1"), treeFiles...); !errors.As(err, &conflict) || conflict.Existing != got.ManifestDigest {
		s.Fatalf("without links: %v", err)
	}
}

func badTrees(s suite) {
	head, good := s.head(), s.tree(version("1"))
	for _, bad := range []struct{ from, to, field string }{ // Encode refuses these, so bytes are exchanged
		{"tools/x/y/z", "../../etc/p", "links[0].target"},
		{"tools/x/y/z", "/etc/passwd", "links[0].target"},
		{"var/empty", "bin/it/xy", "folders[1].path"},
		{"\x19\x01\xe8", "\x19\x01\xa0", "files[0].mode"}, // 0750 and 0640
		{"schemaVersion\x02", "schemaVersion\x03", "manifest.schemaVersion"},
	} {
		encoded := bytes.Replace(good, []byte(bad.from), []byte(bad.to), 1)
		upload := s.open(version("1"))
		s.fill(upload.ID, treeFiles)
		_, err := s.r.Publish(s.ctx, upload.ID, encoded)
		s.invalid(err, bad.field)
		_, err = s.publishEncoded(version("1"), encoded, treeFiles...)
		s.invalid(err, bad.field)
	}
	equal(s, "events", s.head(), head)
}
