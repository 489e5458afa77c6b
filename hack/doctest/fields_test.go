package doctest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// pages are the reference pages of the kinds, and the schemas that they describe.
var pages = map[string]string{
	"docs/api/storagebackend.md": "config/crd/artifactstore.dev_storagebackends.yaml",
	"docs/api/routingpolicy.md":  "config/crd/artifactstore.dev_routingpolicies.yaml",
}

// field is what the schema says of one field.
type field struct {
	kind, standard string
	bounds         []string // each must stand in the page's cell
	immutable      bool
}

// TestFields compares the tables of the pages with the schemas, both ways:
// every field, its type, default, bounds, and whether it may change. A row is
// | `spec.field` | type | default | bounds | meaning |, with the word
// "immutable" in the bounds; one of status has no default and no bounds.
func TestFields(t *testing.T) {
	t.Parallel()
	for page, schema := range pages {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			fields := schemaFields(t, schema)
			described := map[string]bool{}
			for _, row := range Rows(read(t, page)) {
				name := row[0]
				if !strings.HasPrefix(name, "spec.") && !strings.HasPrefix(name, "status.") {
					continue // of another table
				}
				if described[name] {
					t.Errorf("%s has two rows", name)
				}
				described[name] = true
				declared, ok := fields[name]
				if !ok {
					t.Errorf("the schema has no %s", name)
					continue
				}
				if row[1] != declared.kind {
					t.Errorf("%s is %s, not %s", name, declared.kind, row[1])
				}
				if strings.HasPrefix(name, "status.") {
					continue
				}
				if len(row) != 5 {
					t.Errorf("%s has %d cells, want field, type, default, bounds, meaning", name, len(row))
					continue
				}
				if standard := strings.Trim(row[2], "`"); standard != declared.standard {
					t.Errorf("the default of %s is %q, not %q", name, declared.standard, standard)
				}
				for _, bound := range declared.bounds {
					if !strings.Contains(row[3], bound) {
						t.Errorf("the bounds of %s do not say %s", name, bound)
					}
				}
				if immutable := strings.Contains(row[3], "immutable"); immutable != declared.immutable {
					t.Errorf("%s: immutable is %v", name, declared.immutable)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(fields)) {
				if !described[name] {
					t.Errorf("%s has no row", name)
				}
			}
		})
	}
}

func schemaFields(t *testing.T, path string) map[string]field {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict([]byte(read(t, path)), &crd); err != nil {
		t.Fatal(err)
	}
	fields := map[string]field{}
	top := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	for _, name := range []string{"spec", "status"} {
		collect(fields, name, top.Properties[name])
	}
	for _, rule := range top.XValidations {
		path := strings.TrimPrefix(rule.FieldPath, ".")
		if name, _, found := strings.Cut(rule.Message, " is immutable"); found && strings.HasSuffix(path, "."+name) {
			f := fields[path]
			f.immutable = true
			fields[path] = f
		}
	}
	if len(fields) < 10 {
		t.Fatalf("%s: only %d fields were found", path, len(fields))
	}
	return fields
}

// collect adds the fields below a path. A reference to a value (name and key,
// env, file) is one field: it is described once, in words. So is a condition.
func collect(fields map[string]field, path string, schema apiextensionsv1.JSONSchemaProps) {
	for name, child := range schema.Properties {
		below := path + "." + name
		switch _, isRef := child.Properties["env"]; {
		case isRef:
			fields[below] = field{kind: "reference"}
		case child.Type == "array" && child.Items.Schema.Type == "object":
			fields[below] = describe(child)
			if name != "conditions" {
				collect(fields, below+"[]", *child.Items.Schema)
			}
		default:
			fields[below] = describe(child)
			collect(fields, below, child)
		}
	}
}

func describe(s apiextensionsv1.JSONSchemaProps) field {
	f := field{kind: s.Type}
	if s.XIntOrString {
		f.kind, s.Pattern = "quantity", "" // the pattern is that of every quantity
	}
	if s.Type == "array" {
		f.kind = "array of " + s.Items.Schema.Type
		items := describe(*s.Items.Schema)
		f.bounds = items.bounds
	}
	if s.Default != nil {
		f.standard = string(s.Default.Raw)
		if text := ""; json.Unmarshal(s.Default.Raw, &text) == nil {
			f.standard = text
		}
	}
	for _, number := range []*int64{s.MinLength, s.MaxLength, s.MinItems, s.MaxItems} {
		if number != nil && *number != 1 {
			f.bounds = append(f.bounds, strconv.FormatInt(*number, 10))
		}
	}
	for _, number := range []*float64{s.Minimum, s.Maximum} {
		if number != nil {
			f.bounds = append(f.bounds, fmt.Sprintf("%.0f", *number))
		}
	}
	for _, value := range s.Enum {
		f.bounds = append(f.bounds, strings.Trim(string(value.Raw), `"`))
	}
	if s.Pattern != "" {
		f.bounds = append(f.bounds, s.Pattern)
	}
	for _, rule := range s.XValidations {
		if words, ok := strings.CutPrefix(rule.Message, "must be "); ok {
			f.bounds = append(f.bounds, words)
		}
	}
	return f
}
