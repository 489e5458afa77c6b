package registrytest

import (
	"fmt"
	"math"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

var inputCases = []testCase{
	{"bad sessions", badSessions},
	{"bad paths", badPaths},
	{"bad declarations", badDeclarations},
	{"bad questions", badQuestions},
}

func badSessions(s suite) {
	head := s.head()
	odd := map[string]string{
		"empty": "", "space": "a b", "slash": "a/b", "step up": "..", "leading dot": ".a", "two dots": "a..b", "at": "a@b", "colon": "a:b",
		"newline": "a\n", "NUL": "a\x00", "not ASCII": "ä", "not UTF-8": "a\xff", "percent": "%2e", "too long": strings.Repeat("a", registry.MaxFieldLength+1),
		"backslash": `a\b`, "html": "<a>", "quote": `a"`, "dash first": "-a",
	}
	for field, set := range map[string]func(*registry.OpenUpload, string){
		"producer":       func(r *registry.OpenUpload, v string) { r.Producer = v },
		"name":           func(r *registry.OpenUpload, v string) { r.Name = v },
		"version":        func(r *registry.OpenUpload, v string) { r.Version = v },
		"retentionClass": func(r *registry.OpenUpload, v string) { r.RetentionClass = v },
	} {
		for name, value := range odd {
			if field == "name" && name == "slash" { // between components
				continue
			}
			req := version("1")
			set(&req, value)
			_, err := s.r.OpenUpload(s.ctx, req)
			if s.invalid(err, field); s.Failed() {
				s.Fatal(name)
			}
		}
	}
	many := make(map[string]string)
	for i := range registry.MaxAnnotations + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for field, changes := range map[string][]func(*registry.OpenUpload){
		"tier":      {func(r *registry.OpenUpload) { r.Tier = "tepid" }, func(r *registry.OpenUpload) { r.Tier = "HOT" }},
		"mediaType": {func(r *registry.OpenUpload) { r.MediaType = "text/plain; a=\"\x1b[31m\"" }, func(r *registry.OpenUpload) { r.MediaType = "nonsense/" }, func(r *registry.OpenUpload) { r.MediaType = "a/" + strings.Repeat("b", 300) }},
		"annotations": {
			func(r *registry.OpenUpload) { r.Annotations = many },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"": "a"} },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"a": "\xff"} },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"a": "\x1b[31m"} },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"a": "two\nlines"} },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"a": "\x00"} },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"a": "\u009b31m"} },
			func(r *registry.OpenUpload) { r.Annotations = map[string]string{"a\x7f": "b"} },
			func(r *registry.OpenUpload) {
				r.Annotations = map[string]string{"a": strings.Repeat("a", registry.MaxAnnotationValue+1)}
			},
		},
	} {
		for _, change := range changes {
			req := version("1")
			change(&req)
			_, err := s.r.OpenUpload(s.ctx, req)
			s.invalid(err, field)
		}
	}
	equal(s, "head", s.head(), head)
}

var oddPaths = map[string]string{
	"empty": "", "step up": "../a", "step up inside": "a/../b", "step up at the end": "a/..", "only steps": "..", "here": "./a", "absolute": "/a", "two slashes": "//a",
	"empty segment": "a//b", "slash at the end": "a/", "backslash": `a\b`, "backslash step": `..\a`, "NUL": "a\x00b", "newline": "a\nb", "delete": "a\x7f",
	"not UTF-8": "a\xff", "segment too long": strings.Repeat("a", 256), "too long": strings.Repeat("a/", 512) + "a",
}

func badPaths(s suite) {
	upload := s.open(version("1"))
	head := s.head()
	for name, path := range oddPaths {
		_, err := s.r.PutFile(s.ctx, upload.ID, path, content("a"))
		if s.invalid(err, "path"); s.Failed() {
			s.Fatal(name)
		}
		_, err = s.r.DeclareFiles(s.ctx, upload.ID, declarations([]file{{"good", "a", false}, {path, "b", false}}))
		if s.invalid(err, "files[1].path"); s.Failed() {
			s.Fatal(name)
		}
		_, err = s.r.FindFile(s.ctx, version("1").PackageRef, path)
		if s.invalid(err, "path"); s.Failed() {
			s.Fatal(name)
		}
	}
	got, err := s.r.GetUpload(s.ctx, upload.ID)
	s.must(err)
	equal(s, "files", got.Files, 0) // all or none
	equal(s, "head", s.head(), head)

	s.put(upload.ID, "caf\u00e9", "a")
	_, err = s.r.PutFile(s.ctx, upload.ID, "cafe\u0301", content("b"))
	s.invalid(err, "path")
	s.put(upload.ID, "CAF\u00c9", "b") // case tells files apart
}

func badDeclarations(s suite) {
	upload := s.open(version("1"))
	head := s.head()
	negative, huge, one, two := int64(-1), int64(math.MaxInt64), int64(1), int64(2)
	a := digest.Of([]byte("a"))
	for _, c := range []struct {
		name, field string
		files       []registry.FileDeclaration
	}{
		{"duplicate", "files[1].path", []registry.FileDeclaration{{Path: "a"}, {Path: "a"}}},
		{"equal after NFC", "files[1].path", []registry.FileDeclaration{{Path: "\u00e9"}, {Path: "e\u0301"}}},
		{"negative size", "files[0].size", []registry.FileDeclaration{{Path: "a", Size: &negative}}},
		{"huge size", "files[0].size", []registry.FileDeclaration{{Path: "a", Size: &huge}}},
		{"media type", "files[0].mediaType", []registry.FileDeclaration{{Path: "a", MediaType: "nonsense/"}}},
		{"swapped digests", "files[0].digests.sha256", []registry.FileDeclaration{{Path: "a", Digests: digest.Dual{SHA256: a.BLAKE3}}}},
		{"one content, two sizes", "files[1].digests", []registry.FileDeclaration{{Path: "a", Size: &one, Digests: a}, {Path: "b", Size: &two, Digests: a}}},
	} {
		_, err := s.r.DeclareFiles(s.ctx, upload.ID, c.files)
		if s.invalid(err, c.field); s.Failed() {
			s.Fatal(c.name)
		}
	}
	many := make([]registry.FileDeclaration, registry.MaxFilesInOneUpload+1)
	for i := range many {
		many[i].Path = fmt.Sprint(i)
	}
	_, err := s.r.DeclareFiles(s.ctx, upload.ID, many)
	s.invalid(err, "files")
	got, err := s.r.GetUpload(s.ctx, upload.ID)
	s.must(err)
	equal(s, "files", got.Files, 0)
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.invalid(err, "files") // a package of nothing
	equal(s, "head", s.head(), head)
}

func badQuestions(s suite) {
	s.push(version("1"), file{"a", "a", false})
	head := s.head()
	_, err := s.r.GetPackage(s.ctx, registry.PackageRef{Producer: "..", Name: "b", Version: "c"})
	s.invalid(err, "producer")
	_, err = s.r.FindFile(s.ctx, registry.PackageRef{Producer: "a", Name: "b//c", Version: "d"}, "a")
	s.invalid(err, "name")
	_, err = s.r.ListPackages(s.ctx, registry.PackageFilter{After: "nonsense"})
	s.invalid(err, "after")
	for _, limit := range []int{-1, registry.MaxPackagePage + 1} {
		_, err = s.r.ListPackages(s.ctx, registry.PackageFilter{Limit: limit})
		s.invalid(err, "limit")
		_, err = s.r.ReadEvents(s.ctx, registry.EventQuery{Limit: limit})
		s.invalid(err, "limit")
	}
	for _, after := range []uint64{head + 1, math.MaxInt64, math.MaxUint64} {
		_, err = s.r.ReadEvents(s.ctx, registry.EventQuery{After: after})
		s.invalid(err, "after")
		err = s.r.FollowEvents(s.ctx, registry.EventQuery{After: after}, func(registry.Event) error { return nil })
		s.invalid(err, "after")
	}
	_, err = s.r.Explain(s.ctx, placement.Request{Producer: "a b", RetentionClass: "c"})
	s.invalid(err, "producer")
	_, err = s.r.Explain(s.ctx, placement.Request{Producer: "a"})
	s.invalid(err, "retentionClass")
	_, err = s.r.HeadBlob(s.ctx, digest.Digest{})
	s.invalid(err, "digest")
	equal(s, "head", s.head(), head)
}
