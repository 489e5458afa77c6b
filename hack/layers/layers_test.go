package layers

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTree holds this repository to the table.
func TestTree(t *testing.T) {
	t.Parallel()
	violations, packages, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range violations {
		t.Error(violation)
	}
	// A walk that found nothing would agree with any table.
	if packages < 10 {
		t.Errorf("only %d packages were looked at", packages)
	}
}

// TestCheck breaks each rule once.
func TestCheck(t *testing.T) {
	t.Parallel()
	const own = module + "/"
	for name, test := range map[string]struct {
		file, source string
		want         string // part of the only violation; "" for none
	}{
		"allowed":                    {"pkg/manifest/m.go", `import _ "` + own + `pkg/digest"`, ""},
		"itself, from a test suite":  {"pkg/storage/s3/s.go", `import _ "` + own + `pkg/storage/s3"`, ""},
		"not in the table":           {"pkg/util/u.go", ``, "pkg/util is not in the import table"},
		"not in the table, below":    {"pkg/digest/sub/u.go", ``, "pkg/digest/sub is not in the import table"},
		"registry knows no routing":  {"pkg/registry/s.go", `import _ "` + own + `pkg/routing"`, "pkg/registry must not import pkg/routing"},
		"registry knows no driver":   {"pkg/registry/s.go", `import _ "` + own + `pkg/storage/s3"`, "pkg/registry must not import pkg/storage/s3"},
		"registry knows no database": {"pkg/registry/s.go", `import _ "` + own + `pkg/database"`, "pkg/registry must not import pkg/database"},
		"a room knows no other room": {"pkg/registry/service/ingest/i.go", `import _ "` + own + `pkg/registry/service/custody"`, "must not import pkg/registry/service/custody"},
		"nor do its parts":           {"pkg/registry/verify/v.go", `import _ "` + own + `pkg/storage/local"`, "must not import pkg/storage/local"},
		"routing knows no registry":  {"pkg/routing/r.go", `import _ "` + own + `pkg/registry"`, "pkg/routing must not import pkg/registry"},
		"routing knows placement":    {"pkg/routing/r.go", `import _ "` + own + `pkg/registry/placement"`, ""},
		"storage knows no packages":  {"pkg/storage/s.go", `import _ "` + own + `pkg/manifest"`, "pkg/storage must not import pkg/manifest"},
		"a driver knows no driver":   {"pkg/storage/s3/s.go", `import _ "` + own + `pkg/storage/local"`, "must not import pkg/storage/local"},
		"api knows nothing of ours":  {"api/v1alpha1/a.go", `import _ "` + own + `pkg/storage"`, "api/v1alpha1 must not import pkg/storage"},
		"registry, Kubernetes":       {"pkg/registry/s.go", `import _ "k8s.io/api/core/v1"`, "must not import k8s.io/api/core/v1"},
		"registry, its runtime":      {"pkg/registry/s.go", `import _ "sigs.k8s.io/controller-runtime"`, "must not import sigs.k8s.io/controller-runtime"},
		"controllers, Kubernetes":    {"controllers/c.go", `import _ "k8s.io/api/core/v1"`, ""},
		"another library":            {"pkg/registry/s.go", `import _ "sigs.k8s.io/yaml"`, ""},
		"flags":                      {"pkg/storage/s.go", `import _ "flag"`, "must not import flag"},
		"flags of a program":         {"cmd/manager/m.go", `import _ "flag"`, ""},
		"environment":                {"pkg/storage/s.go", `import "os"; var x = os.Getenv("X")`, "reads environment variables"},
		"environment, renamed":       {"pkg/storage/s.go", `import sys "os"; var f = sys.LookupEnv`, "reads environment variables"},
		"environment of a program":   {"cmd/manager/m.go", `import "os"; var x = os.Getenv("X")`, ""},
		"hack may do anything":       {"hack/x/x.go", `import (_ "flag"; _ "` + own + `pkg/routing"); import "os"; var x = os.Environ()`, ""},
		"a test is not held to it":   {"pkg/registry/s_test.go", `import _ "` + own + `pkg/routing"`, ""},
		"nor is a module of its own": {"hack/tools/x/x.go", `import _ "flag"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := fstest.MapFS{
				test.file:             {Data: []byte("package p\n" + test.source)},
				"hack/tools/x/go.mod": {},
			}
			violations, _, err := Check(tree)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case test.want == "" && len(violations) > 0:
				t.Errorf("found %q, want nothing", violations)
			case test.want != "" && (len(violations) != 1 || !strings.Contains(violations[0], test.want)):
				t.Errorf("found %q, want %q", violations, test.want)
			}
		})
	}
}

// TestLinks: a library that a package must not link is found behind others.
func TestLinks(t *testing.T) {
	t.Parallel()
	const own = module + "/"
	tree := fstest.MapFS{
		"pkg/client/c.go":       {Data: []byte("package p\nimport (_ \"" + own + "pkg/httpapi/wire\"; _ \"" + own + "pkg/manifest\")")},
		"pkg/httpapi/wire/w.go": {Data: []byte("package p\nimport _ \"" + own + "pkg/registry\"")},
		"pkg/registry/r.go":     {Data: []byte("package p")},
		"pkg/manifest/m.go":     {Data: []byte("package p")},
	}
	if violations, _, err := Check(tree); err != nil || len(violations) > 0 {
		t.Fatalf("found %q, %v", violations, err)
	}
	tree["pkg/registry/r.go"].Data = []byte("package p\nimport _ \"modernc.org/sqlite/lib\"")
	violations, _, err := Check(tree)
	if err != nil {
		t.Fatal(err)
	}
	const want = "pkg/client must not link modernc.org/sqlite, and does by pkg/client -> pkg/httpapi/wire -> pkg/registry"
	if !slices.Contains(violations, want) {
		t.Errorf("found %q, want %q", violations, want)
	}
}

// A file that cannot be read as Go is an error, not a package without imports.
func TestCheckBroken(t *testing.T) {
	t.Parallel()
	if _, _, err := Check(fstest.MapFS{"pkg/digest/d.go": {Data: []byte("import")}}); err == nil {
		t.Error("no error")
	}
}

// TestRules keeps the table itself honest: what a row names has a row.
func TestRules(t *testing.T) {
	t.Parallel()
	for name, row := range imports {
		for _, imported := range row {
			if slices.Contains([]string{"...", "pkg/..."}, imported) {
				continue
			}
			if _, known := rowOf(strings.TrimSuffix(imported, "/...")); !known {
				t.Errorf("%s may import %s, which has no row", name, imported)
			}
		}
	}
}
