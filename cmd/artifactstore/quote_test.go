package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
)

// rude is a text that a terminal obeys: it sets colours, rings, begins lines,
// moves the cursor by a C1 control, and turns the direction of what follows.
const rude = "a\x1b[31m\a\r\nready  True\u009b2J\u202egnp.exe\x7f\u0085\u2028\U000e0001\u3164\u2800\u034f"

// rudely fills every text of a value with rude.
func rudely[T any]() T {
	var value T
	fill(reflect.ValueOf(&value).Elem())
	return value
}

func fill(v reflect.Value) {
	switch {
	case !v.CanSet():
	case v.Kind() == reflect.String:
		v.SetString(rude)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Interface && v.NumMethod() == 0:
		v.Set(reflect.ValueOf(rude))
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	}
}

// rudeRegistry says nothing but rude things. Methods not defined below panic.
type rudeRegistry struct{ registry.Registry }

func (rudeRegistry) GetPackage(context.Context, registry.PackageRef) (registry.Package, error) {
	return rudely[registry.Package](), nil
}

func (rudeRegistry) ListPackages(context.Context, registry.PackageFilter) (registry.PackagePage, error) {
	page := rudely[registry.PackagePage]()
	page.Next = ""
	return page, nil
}

func (rudeRegistry) ReadEvents(context.Context, registry.EventQuery) (registry.EventPage, error) {
	return rudely[registry.EventPage](), nil
}

func (rudeRegistry) ListBackends(context.Context) ([]registry.BackendStatus, error) {
	return rudely[[]registry.BackendStatus](), nil
}

func (rudeRegistry) Health(context.Context) (registry.Health, error) {
	return rudely[registry.Health](), nil
}

func (rudeRegistry) Explain(context.Context, placement.Request) (placement.Explanation, error) {
	return rudely[placement.Explanation](), nil
}

func (rudeRegistry) ProbeBackend(context.Context, string) (registrar.ProbeReport, error) {
	return rudely[registrar.ProbeReport](), nil
}

func (rudeRegistry) ListDamaged(context.Context, registry.DamageFilter) (registry.DamagePage, error) {
	page := rudely[registry.DamagePage]()
	page.Next = ""
	return page, nil
}

func (rudeRegistry) ListTags(context.Context, registry.TagQuery) (registry.TagPage, error) {
	page := rudely[registry.TagPage]()
	page.Next = ""
	return page, nil
}

func (rudeRegistry) ListTagHistory(context.Context, registry.TagRef, registry.HistoryQuery) (registry.TagPage, error) {
	page := rudely[registry.TagPage]()
	page.Next = ""
	return page, nil
}

func (rudeRegistry) GetTag(context.Context, registry.TagRef, uint64) (registry.Tag, error) {
	return rudely[registry.Tag](), nil
}

func (rudeRegistry) SetTag(context.Context, registry.TagRef, registry.TagSetting) (registry.Tag, error) {
	return rudely[registry.Tag](), nil
}

func (rudeRegistry) RemoveTag(context.Context, registry.TagRef) error {
	return errors.New(rude)
}

func (rudeRegistry) FindUses(context.Context, digest.Digest, registry.UseQuery) (registry.UsePage, error) {
	page := rudely[registry.UsePage]()
	page.Next = ""
	return page, nil
}

func (rudeRegistry) SweepBackend(context.Context, string, bool, func(registry.SweepReport)) (registry.SweepReport, error) {
	return rudely[registry.SweepReport](), errors.New(rude)
}

func (rudeRegistry) VerifyBackend(context.Context, string, registry.VerifyOptions, func(registry.VerifyReport)) (registry.VerifyReport, error) {
	return rudely[registry.VerifyReport](), &registry.InvalidError{Field: rude, Message: rude}
}

// TestOthersWordsAreQuoted: whatever packages, buckets, servers and folders
// say, no verb prints it as it is, in any format.
func TestOthersWordsAreQuoted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "a\x1b[31m\a\nb\u009b\u202e")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	encoded, err := manifest.Encode(&manifest.Manifest{Producer: rude, Name: rude, Version: rude, MediaType: rude, Annotations: map[string]string{rude: rude},
		Files: []manifest.File{{Path: "a  b\u009b31m\u202egnp.exe", Digests: digest.Of(nil), MediaType: rude}}})
	if err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(t.TempDir(), "manifest")
	if err := os.WriteFile(stored, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range [][]string{
		{"show", "a/b@1"}, {"show", "a/b:c"}, {"show", "a/b"}, {"list", "--latest"}, {"tag", "list", "a/b"}, {"tag", "history", "a/b:c"}, {"tag", "a/b@1", "c"}, {"tag", "remove", "a/b:c"},
		{"find", "--digest", digest.Of(nil).SHA256.String()}, {"damaged"}, {"list"}, {"events"}, {"backends"}, {"health"}, {"routing", "explain", "--producer", "a", "--retention-class", "b"},
		{"storage", "probe", "--backend", "b"}, {"storage", "sweep", "--backend", "b", "--dry-run"}, {"storage", "verify", "--backend", "b"},
		{"digest", file}, {"digest", file + "?"}, {"manifest", "show", stored}, {"manifest", "verify", stored, folder},
		{"push", folder, "--producer", "a", "--name", "b", "--version", "c", "--retention-class", "d"}, {"show", rude}, {rude},
	} {
		for _, format := range []string{"table", "wide", "json", "yaml"} {
			var out, complaints bytes.Buffer
			a := &app{
				environment: environment{stdin: strings.NewReader(""), stdout: &out, stderr: &complaints, getenv: func(string) string { return "" }},
				output:      formatTable,
				connect:     func(connection) (registry.Registry, error) { return rudeRegistry{}, nil },
			}
			root := a.root()
			root.SetArgs(append(verb[:len(verb):len(verb)], "-o", format))
			if err := root.ExecuteContext(t.Context()); err != nil {
				fmt.Fprintln(&complaints, oneLine(err))
			}
			name := fmt.Sprintf("%.40q -o %s", verb, format)
			if out.Len()+complaints.Len() == 0 {
				t.Errorf("%s: nothing was printed", name)
			}
			for _, text := range []string{out.String(), complaints.String()} {
				if at := strings.IndexFunc(text, func(r rune) bool {
					return r != '\n' && !unicode.IsPrint(r) || strings.ContainsRune("\u3164\u2800\u034f", r)
				}); at >= 0 {
					t.Errorf("%s: %q is printed as it is", name, text[at:min(len(text), at+20)])
				}
				if strings.Contains(text, "\nready") {
					t.Errorf("%s: a text begins a line of its own", name)
				}
			}
			if strings.Count(complaints.String(), "\n") > 1 {
				t.Errorf("%s: the error has several lines: %q", name, complaints.String())
			}
		}
	}
}

// TestQuotedOutputMeansTheSame: programs read what was written.
func TestQuotedOutputMeansTheSame(t *testing.T) {
	t.Parallel()
	for _, text := range []string{rude, "plain", "caf\u00e9 \u65e5\u672c", "<a&b>", "\U0001f469\u200d\U0001f680", `back\slash "quoted"`} {
		value := map[string]string{"text": text}
		var fromJSON, fromYAML map[string]string
		encoded, err := encodeJSON(value, "")
		if err = errors.Join(err, json.Unmarshal(encoded, &fromJSON)); err != nil || fromJSON["text"] != text {
			t.Errorf("JSON of %q: %s is read as %q (%v)", text, encoded, fromJSON["text"], err)
		}
		encoded, err = encodeYAML(value)
		if err = errors.Join(err, yaml.Unmarshal(encoded, &fromYAML)); err != nil || fromYAML["text"] != text {
			t.Errorf("YAML of %q: %s is read as %q (%v)", text, encoded, fromYAML["text"], err)
		}
	}
	for text, want := range map[string]string{
		"plain": "plain", "two words": "two words", `with "quotes"`: `with "quotes"`, "caf\u00e9": "caf\u00e9",
		"a\nb": `"a\nb"`, " a": `" a"`, "a\xff": `"a\xff"`, "\u202ea": `"\u202ea"`, "\u009b": `"\u009b"`,
	} {
		if got := shown(text); got != want {
			t.Errorf("shown(%q) is %s, want %s", text, got, want)
		}
	}
	if got := oneLine(errors.New("a \x1b[31m'b'\xff\nc\u202e")); got != `a \x1b[31m'b'\xff; c\u202e` {
		t.Errorf("got %s", got)
	}
}

// TestAnnotationFlag: a value may hold commas and equals signs.
func TestAnnotationFlag(t *testing.T) {
	t.Parallel()
	var got annotations
	for _, text := range []string{"urls=https://a?x=1,https://b?y=2", `quoted="a",b=c`, "empty="} {
		if err := got.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	want := annotations{"urls": "https://a?x=1,https://b?y=2", "quoted": `"a",b=c`, "empty": ""}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, text := range []string{"nothing", "urls=again"} {
		if err := got.Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
