package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReasons holds the table of reasons to the constants in the code, both
// ways: whoever sees one in a condition finds what to do about it.
func TestReasons(t *testing.T) {
	t.Parallel()
	declared := map[string]bool{}
	for _, folder := range []string{"controllers", "controllers/cronjobs", "controllers/declared", "controllers/status", "pkg/storage", "pkg/storage/probe"} {
		for _, value := range reasonsIn(t, filepath.Join(root(t), folder)) {
			declared[value] = true
		}
	}
	// The probe's own words for success become Reached and Probed.
	delete(declared, "Reachable")
	delete(declared, "Writable")
	_, table, found := strings.Cut(read(t, "docs/OPERATOR.md"), "## What a reason means")
	if !found {
		t.Fatal("docs/OPERATOR.md has no section of reasons")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	explained := map[string]bool{}
	for _, row := range Rows(table) {
		if len(row) != 3 || row[1] == "" || row[2] == "" {
			t.Errorf("%q: want reason, meaning, what to do", row)
		}
		if !declared[row[0]] {
			t.Errorf("no code gives the reason %s", row[0])
		}
		explained[row[0]] = true
	}
	for _, reason := range slices.Sorted(maps.Keys(declared)) {
		if !explained[reason] {
			t.Errorf("the reason %s is not explained", reason)
		}
	}
}

// reasonsIn lists the values of the constants whose names begin with Reason.
func reasonsIn(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if !strings.HasPrefix(name.Name, "Reason") || i >= len(spec.Values) {
					continue
				}
				if literal, ok := spec.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
					value, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, value)
				}
			}
			return true
		})
	}
	if len(values) == 0 {
		t.Fatalf("%s: no reasons were found", folder)
	}
	return values
}
