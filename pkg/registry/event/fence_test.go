package event

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/eventlog"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// fieldsOf says which fields each form has; a later version, those that it
// adds. A program that meets a field that it does not know stops, so one that
// is added needs a version, and the version a fence level.
var fieldsOf = map[form]string{
	{KindBackendRegistered, 1}: "backendId driver name place",
	{KindBackendAbandoned, 1}:  "backendId failed live name",
	{KindPackagePublished, 1}:  "backends manifest name producer retentionClass tier version",
	{KindLocationAdded, 1}:     "backendId sha256",
	{KindLocationVerified, 1}:  "backendId sha256",
	{KindLocationVerified, 2}:  "run",
	{KindLocationFailed, 1}:    "backendId detail reason sha256",
	{KindLogRecovered, 1}:      "holdSeconds logId marks reason",
	{KindTagSet, 1}:            "digest immutable manifest name producer tag version",
	{KindTagRemoved, 1}:        "name producer tag",
}

// Whoever adds a kind, a field or a version of the manifest gives it a fence level.
func TestEveryFormHasAFenceLevel(t *testing.T) {
	t.Parallel()
	for version := 1; version <= manifest.SchemaVersion; version++ {
		if _, ok := levels[form{formManifest, version}]; !ok {
			t.Errorf("version %d of the manifest has no fence level", version)
		}
	}
	want, got := map[string]string{}, map[string]string{}
	for f, fields := range fieldsOf {
		if _, ok := levels[f]; !ok {
			t.Errorf("%s, version %d, has no fence level", f.kind, f.version)
		}
		want[f.kind] = sorted(want[f.kind] + " " + fields)
	}
	for f := range levels {
		if _, ok := fieldsOf[f]; !ok && f.kind != formManifest && f.kind != formViews {
			t.Errorf("%s, version %d: its fields are not listed here", f.kind, f.version)
		}
	}
	for _, kind := range kindsInSource(t) {
		payload, err := Decode(eventlog.Event{Kind: kind, Payload: []byte{0xa0}})
		if err != nil {
			t.Errorf("%s cannot be decoded: %v", kind, err)
			continue
		}
		var fields []string
		for i := range reflect.TypeOf(payload).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(payload).Field(i).Tag.Get("cbor"), ",")
			fields = append(fields, name)
		}
		got[kind] = sorted(strings.Join(fields, " "))
	}
	if !maps.Equal(want, got) {
		t.Errorf("the payloads have these fields:\n%v\nthose with a fence level are:\n%v", got, want)
	}
}

func sorted(fields string) string {
	all := strings.Fields(fields)
	slices.Sort(all)
	return strings.Join(all, " ")
}

// kindsInSource are the values of the constants Kind… of this package.
func kindsInSource(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && strings.HasPrefix(spec.Names[0].Name, "Kind") {
				kinds = append(kinds, strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			}
			return true
		})
	}
	if len(kinds) < 6 {
		t.Fatalf("only these kinds were found: %v", kinds)
	}
	return kinds
}

// What has no level cannot be made, and so not appended.
func TestNewRefusesWhatHasNoLevel(t *testing.T) {
	t.Parallel()
	encoded, err := manifest.Encode(&manifest.Manifest{Producer: "p", Name: "n", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if made, err := New("a", PackagePublished{Manifest: encoded}); err != nil || made.Level != 0 {
		t.Errorf("level %d: %v", made.Level, err)
	}
	tree, err := manifest.Encode(&manifest.Manifest{Producer: "p", Name: "n", Version: "1", Links: []manifest.Link{{Path: "l", Target: "f"}}})
	if err != nil {
		t.Fatal(err)
	}
	if made, err := New("a", PackagePublished{Manifest: tree}); err != nil || made.Level != 3 {
		t.Errorf("with a link: level %d: %v", made.Level, err)
	}
	encoded[len(encoded)-1] = 23
	for name, payload := range map[string]Payload{"a manifest": PackagePublished{Manifest: encoded}, "a kind": unlisted{}, "a version": unlistedVersion{}} {
		if _, err := New("a", payload); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s without a level: %v", name, err)
		}
	}
}

type unlisted struct{}

func (unlisted) Kind() string    { return "v1.test.happened" }
func (unlisted) Subject() string { return "" }

type unlistedVersion struct{ BackendAbandoned }

func (unlistedVersion) Version() int { return 99 }
