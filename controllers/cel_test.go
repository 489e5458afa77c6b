package controllers

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/controllers/declared"
)

// celCase shows one CEL rule of a CRD at work: a bad object that the API server
// refuses for this rule alone, and a good one that is as like it as can be.
type celCase struct {
	kind, field, message string
	good, bad            string // specs; no good one where the kind takes no object
	name                 string // of the bad object, for rules about names
	from                 string // a spec that is edited to the good and the bad one, for rules about changes
}

const immutable = " is immutable: stored bytes stay where they are; declare another StorageBackend"

// celCases: one for every rule. Whoever adds a rule adds a case.
func celCases() []celCase {
	backend := func(field, message, good, bad string) celCase {
		return celCase{kind: "StorageBackend", field: field, message: message, good: good, bad: bad}
	}
	changed := func(field, message, from, good, bad string) celCase {
		return celCase{kind: "StorageBackend", field: field, message: message, from: from, good: good, bad: bad}
	}
	scheduled := func(message, good, bad string) celCase {
		spec := func(schedule string) string {
			return "{local: {path: /a}, verification: {schedule: '" + schedule + "'}}"
		}
		return backend("spec.verification.schedule", message, spec(good), spec(bad))
	}
	const (
		keys      = "accessKeyRef: {name: keys, key: a}, secretKeyRef: {name: keys, key: s}"
		classes   = "must be at most 64 upper-case letters, digits and underscores, not starting with an underscore"
		aDuration = "must be a duration such as 30s or 5m"
		oneRef    = "exactly one of name with key, env and file must be set"
	)
	cases := []celCase{
		{kind: "StorageBackend", field: "", message: "metadata.name must be at most 63 characters", name: strings.Repeat("n", 64), good: "{local: {path: /a}}", bad: "{local: {path: /a}}"},
		backend("spec", "exactly one of s3 and local must be set", "{s3: {bucket: bbb}}", "{s3: {bucket: bbb}, local: {path: /a}}"),
		changed("spec", "the kind of storage"+immutable, "{local: {path: /a}}", "{local: {path: /a}, access: ReadOnly}", "{s3: {bucket: bbb}}"),
		backend("spec.probe", "timeout must not be longer than interval; the defaults are 15s and 1m", "{local: {path: /a}, probe: {interval: 10s, timeout: 10s}}", "{local: {path: /a}, probe: {interval: 10s, timeout: 11s}}"),
		backend("spec.probe.interval", "must be from 5s to 24h", "{local: {path: /a}, probe: {interval: 24h}}", "{local: {path: /a}, probe: {interval: 24h1s}}"),
		backend("spec.probe.timeout", "must be from 1s to 5m", "{local: {path: /a}, probe: {interval: 1h, timeout: 5m}}", "{local: {path: /a}, probe: {interval: 1h, timeout: 301s}}"),
		backend("spec.local.path", "path must not contain '..'", "{local: {path: /a/..b}}", "{local: {path: /a/../b}}"),
		changed("spec.local.path", "path"+immutable, "{local: {path: /a}}", "{local: {path: /a}, access: ReadOnly}", "{local: {path: /b}}"),
		backend("spec.s3", "accessKeyRef and secretKeyRef must be set together", "{s3: {bucket: bbb, "+keys+"}}", "{s3: {bucket: bbb, accessKeyRef: {name: keys, key: a}}}"),
		backend("spec.s3", "sessionTokenRef requires accessKeyRef and secretKeyRef", "{s3: {bucket: bbb, "+keys+", sessionTokenRef: {name: keys, key: t}}}", "{s3: {bucket: bbb, sessionTokenRef: {name: keys, key: t}}}"),
		changed("spec.s3", "keyPrefix"+immutable, "{s3: {bucket: bbb}}", "{s3: {bucket: bbb, region: eu}}", "{s3: {bucket: bbb, keyPrefix: p}}"),
		changed("spec.s3.keyPrefix", "keyPrefix"+immutable, "{s3: {bucket: bbb, keyPrefix: p}}", "{s3: {bucket: bbb, keyPrefix: p, region: eu}}", "{s3: {bucket: bbb, keyPrefix: q}}"),
		backend("spec.s3.bucket", "must be 3 to 63 letters, digits, hyphens, underscores and single dots, starting and ending with a letter or digit", "{s3: {bucket: My_Bucket.a}}", "{s3: {bucket: 'My_Bucket!'}}"),
		backend("spec.s3.region", "must be at most 64 lower-case letters, digits and hyphens, not starting with a hyphen", "{s3: {bucket: bbb, region: eu-1}}", "{s3: {bucket: bbb, region: EU-1}}"),
		backend("spec.s3.keyPrefix", "must be segments of at most 255 letters, digits, '.', '_' and '-', separated by single slashes; no segment starts with a dot",
			"{s3: {bucket: bbb, keyPrefix: a/b}}", "{s3: {bucket: bbb, keyPrefix: a/b/}}"),
		backend("spec.s3.storageClass", classes, "{s3: {bucket: bbb, storageClass: STANDARD_IA}}", "{s3: {bucket: bbb, storageClass: Standard_IA}}"),
		backend("spec.s3.storageClasses.hot", classes, "{s3: {bucket: bbb, storageClasses: {hot: A}}}", "{s3: {bucket: bbb, storageClasses: {hot: A-B}}}"),
		backend("spec.s3.storageClasses.warm", classes, "{s3: {bucket: bbb, storageClasses: {warm: A}}}", "{s3: {bucket: bbb, storageClasses: {warm: A-B}}}"),
		backend("spec.s3.storageClasses.cold", classes, "{s3: {bucket: bbb, storageClasses: {cold: A}}}", "{s3: {bucket: bbb, storageClasses: {cold: A-B}}}"),
		backend("spec.probe.interval", aDuration, "{local: {path: /a}, probe: {interval: 1h30m0.5s}}", "{local: {path: /a}, probe: {interval: 1d}}"),
		backend("spec.probe.timeout", aDuration, "{local: {path: /a}, probe: {timeout: 1500ms}}", "{local: {path: /a}, probe: {timeout: '15'}}"),
		backend("spec.s3.requestTimeout", aDuration, "{s3: {bucket: bbb, requestTimeout: 1.5m}}", "{s3: {bucket: bbb, requestTimeout: 1 m}}"),
		backend("spec.verification.rollingPeriod", aDuration, "{local: {path: /a}, verification: {schedule: 0 3 * * *, rollingPeriod: 315360000s}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, rollingPeriod: 9999999h}}"),
		backend("spec.verification.deadline", aDuration, "{local: {path: /a}, verification: {schedule: 0 3 * * *, deadline: 604800s}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, deadline: 6 hours}}"),
		scheduled("the minute must be from 0 to 59", "0,59,*/70 3 * * *", "5,60 3 * * *"),
		scheduled("the hour must be from 0 to 23", "H 0-23/30 * * *", "H 99 * * *"),
		scheduled("the day of the month must be from 1 to 31", "0 0 1,10,31,?,*/40 * *", "0 0 0 * *"),
		scheduled("the month must be from 1 to 12 or JAN to DEC", "0 0 * 1,10-12,feb *", "0 0 * 1-13 *"),
		scheduled("the day of the week must be from 0 (Sunday) to 6 or SUN to SAT", "0 0 * * 0,1-6,SAT", "0 0 * * 7"),
		scheduled("must occur: none of its months has such a day", "0 0 31 1-12 *", "0 0 30,31 FEB *"),
		changed("spec.s3.bucket", "bucket"+immutable, "{s3: {bucket: bbb}}", "{s3: {bucket: bbb, endpointURL: 'http://a'}}", "{s3: {bucket: ccc}}"),
		backend("spec.s3.endpointURL", "must be an http or https URL with only a host or address and an optional port from 1 to 65535", "{s3: {bucket: bbb, endpointURL: 'https://a:65535/'}}", "{s3: {bucket: bbb, endpointURL: 'https://a:65536/'}}"),
		backend("spec.s3.endpointURL", "must not contain a user or password", "{s3: {bucket: bbb, endpointURL: 'https://a'}}", "{s3: {bucket: bbb, endpointURL: 'https://user:pass@a'}}"),
		backend("spec.s3.endpointURL", "must not contain a query or fragment", "{s3: {bucket: bbb, endpointURL: 'https://a/'}}", "{s3: {bucket: bbb, endpointURL: 'https://a?b=c'}}"),
		backend("spec.s3.endpointURL", "must not contain a path: the bucket and keyPrefix have fields of their own", "{s3: {bucket: bbb, endpointURL: 'https://a:9000/'}}", "{s3: {bucket: bbb, endpointURL: 'https://a:9000/bbb'}}"),
		backend("spec.s3.endpointURL", "brackets must contain an IPv6 address", "{s3: {bucket: bbb, endpointURL: 'https://[2001:db8::1]:9000'}}", "{s3: {bucket: bbb, endpointURL: 'https://[1.2.3.4]:9000'}}"),
		backend("spec.s3.requestTimeout", "must be from 1s to 10m", "{s3: {bucket: bbb, requestTimeout: 1s}}", "{s3: {bucket: bbb, requestTimeout: 999ms}}"),
		backend("spec.verification.schedule", "must be five cron fields separated by single spaces: minute, hour, day of the month, month, day of the week; minute and hour may be H or a range such as H(0-5)",
			"{local: {path: /a}, verification: {schedule: H H(0-5) * JAN-DEC MON-FRI}}", "{local: {path: /a}, verification: {schedule: H H(0-5) H JAN-DEC MON-FRI}}"),
		backend("spec.verification.timeZone", "must be the name of a time zone such as Europe/Berlin, but not Local", "{local: {path: /a}, verification: {schedule: 0 3 * * *, timeZone: America/Argentina/Buenos_Aires}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, timeZone: Local}}"),
		backend("spec.verification.rollingPeriod", "must be from 1h to 87600h", "{local: {path: /a}, verification: {schedule: 0 3 * * *, rollingPeriod: 87600h}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, rollingPeriod: 87600h1s}}"),
		backend("spec.verification.bandwidth", "must be at least 64Ki bytes per second", "{local: {path: /a}, verification: {schedule: 0 3 * * *, bandwidth: 64Ki}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, bandwidth: 64k}}"),
		backend("spec.verification.deadline", "must be from 1m to 168h", "{local: {path: /a}, verification: {schedule: 0 3 * * *, deadline: 1m}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, deadline: 59s}}"),
		backend("spec.verification.resources.requests", "must be limited to cpu, memory and ephemeral-storage", "{local: {path: /a}, verification: {schedule: 0 3 * * *, resources: {requests: {cpu: 1, memory: 1Gi, ephemeral-storage: 1Gi}}}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, resources: {requests: {example.com/gpu: 1}}}}"),
		backend("spec.verification.resources.limits", "must be limited to cpu, memory and ephemeral-storage", "{local: {path: /a}, verification: {schedule: 0 3 * * *, resources: {limits: {cpu: 1500m}}}}", "{local: {path: /a}, verification: {schedule: 0 3 * * *, resources: {limits: {hugepages-2Mi: 1Gi}}}}"),
		{kind: "RoutingPolicy", field: "spec.rules[].match", message: "match must name producers or retentionClasses; omit match to match everything",
			good: "{rules: [{match: {producers: [a]}, backends: [b]}]}", bad: "{rules: [{match: {}, backends: [b]}]}"},
		{kind: "RoutingPolicy", field: "spec.rules[].backends[]", message: "must be the name of a StorageBackend: at most 63 lower-case letters, digits, '-' and '.', starting and ending with a letter or digit",
			good: "{rules: [{backends: [a.b-1]}]}", bad: "{rules: [{backends: ['Not A Name!']}]}"},
		{kind: "RoutingPolicy", field: "spec.rules[].match.producers[]", message: "must be 1 to 128 letters, digits, '_', '.', '-' and the wildcards '*' and '?'",
			good: "{rules: [{match: {producers: ['a-*.b_?']}, backends: [b]}]}", bad: "{rules: [{match: {producers: ['']}, backends: [b]}]}"},
		{kind: "RoutingPolicy", field: "spec.rules[].match.retentionClasses[]", message: "must be 1 to 128 letters, digits, '_', '.' and '-', starting with a letter or digit",
			good: "{rules: [{match: {retentionClasses: [a-b_c.1]}, backends: [b]}]}", bad: "{rules: [{match: {retentionClasses: ['a*']}, backends: [b]}]}"},
		{kind: "Package", field: "", message: "packages are kept by the registry: push one with artifactstore push", bad: "{}"},
	}
	for _, ref := range []string{"accessKeyRef", "secretKeyRef", "sessionTokenRef", "caBundleRef"} {
		with := func(value string) string {
			spec := "{s3: {bucket: bbb, " + keys + "}}"
			if !strings.Contains(spec, ref) {
				return strings.Replace(spec, "}}}", "}, "+ref+": "+value+"}}", 1)
			}
			return regexp.MustCompile(ref+`: \{[^}]*\}`).ReplaceAllString(spec, ref+": "+value)
		}
		cases = append(cases, backend("spec.s3."+ref, oneRef, with("{name: keys, key: k}"), with("{name: keys, key: k, env: E}")))
	}
	return cases
}

// celRules lists the rules of the generated CRDs as "kind field: message".
func celRules(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "config", "crd", "artifactstore.dev_*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var all []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(content, &crd); err != nil {
			t.Fatal(err)
		}
		var walk func(field string, s *apiextensionsv1.JSONSchemaProps)
		walk = func(field string, s *apiextensionsv1.JSONSchemaProps) {
			for _, rule := range s.XValidations {
				if rule.Message == "" {
					t.Errorf("%s %s: a rule without a message: %s", crd.Spec.Names.Kind, field, rule.Rule)
				}
				all = append(all, crd.Spec.Names.Kind+" "+cmp.Or(strings.TrimPrefix(rule.FieldPath, "."), field)+": "+rule.Message)
			}
			for name := range s.Properties {
				below := s.Properties[name]
				walk(strings.TrimPrefix(field+"."+name, "."), &below)
			}
			if s.Items != nil && s.Items.Schema != nil {
				walk(field+"[]", s.Items.Schema)
			}
			if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
				walk(field+"{}", s.AdditionalProperties.Schema)
			}
		}
		for _, version := range crd.Spec.Versions {
			walk("", version.Schema.OpenAPIV3Schema)
		}
	}
	return all
}

// TestEveryCELRule: each rule of the CRDs has a case, and a real API server
// refuses the bad object of each with that rule's message at that field, and
// with nothing else, and takes the good one.
func TestEveryCELRule(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	untested := map[string]bool{}
	for _, rule := range celRules(t) {
		untested[rule] = true
	}
	if len(untested) < 20 {
		t.Fatalf("only %d rules were found", len(untested))
	}
	for i, tt := range celCases() {
		rule := tt.kind + " " + tt.field + ": " + tt.message
		if !untested[rule] {
			t.Errorf("the CRDs have no rule %q, or it has two cases", rule)
		}
		delete(untested, rule)
		try := func(variant, spec string) error {
			name := fmt.Sprintf("cel-%d-%s", i, variant)
			if variant == "bad" && tt.name != "" {
				name = tt.name
			}
			o := object(t, ns, tt.kind, name, spec)
			if tt.from == "" {
				return c.Create(t.Context(), o)
			}
			before := object(t, ns, tt.kind, name, tt.from)
			if err := c.Create(t.Context(), before); err != nil {
				t.Fatalf("%s: %v", rule, err)
			}
			marked(t, c, before)
			before.Object["spec"] = o.Object["spec"]
			return c.Update(t.Context(), before)
		}
		if tt.good == "" {
			// Nothing to be told from.
		} else if err := try("good", tt.good); err != nil {
			t.Errorf("%s: the good object %s is refused: %v", rule, tt.good, err)
		}
		if said := refusals(try("bad", tt.bad)); !slices.Equal(said, []string{tt.field + ": " + tt.message}) {
			t.Errorf("%s: of the bad object %s is said %q", rule, tt.bad, said)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(untested)) {
		t.Errorf("the rule %q has no bad object: add a case", rule)
	}
}

// TestEveryCELRuleInFiles: files are held to the same rules, those about changes too.
func TestEveryCELRuleInFiles(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, tt := range celCases() {
		if tt.kind == "Package" {
			continue // which no file declares
		}
		tried++
		if tt.name == "" {
			if err := fromFile(tt.kind, "a", tt.from, tt.good); err != nil {
				t.Errorf("%s: the good file %s is refused: %v", tt.field, tt.good, err)
			}
		}
		err := fromFile(tt.kind, cmp.Or(tt.name, "a"), tt.from, tt.bad)
		said := fileCauses(err)
		if len(said) != 1 || !strings.HasSuffix(said[0], tt.message) || !strings.HasPrefix(strings.TrimPrefix(item.ReplaceAllString(said[0], "[]"), "<nil>"), tt.field+": ") {
			t.Errorf("%s: of the bad file %s is said %q; want %q", tt.field, tt.bad, said, tt.message)
		}
		if !strings.Contains(fmt.Sprint(err), tt.message) {
			t.Errorf("%s: the message %v does not say %q", tt.field, err, tt.message)
		}
	}
	if tried < 20 {
		t.Errorf("only %d rules were tried", tried)
	}
}

// fromFile is what is said of an object in a file, after the one before it was
// accepted; "" for none before.
func fromFile(kind, name, before, spec string) error {
	document := func(spec string) []byte {
		return fmt.Appendf(nil, "apiVersion: artifactstore.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, spec)
	}
	var accepted declared.Declaration
	if before != "" {
		if err := accepted.Read("a.yaml", document(before)); err != nil {
			return err
		}
	}
	accepted.Marked(name, "an id")
	next := accepted.Next()
	return next.Read("a.yaml", document(spec))
}

var item = regexp.MustCompile(`\[\d+\]`)

// refusals lists what an Invalid says as "field: message", without the value that each begins with.
func refusals(err error) []string {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) {
		return []string{fmt.Sprintf("not an Invalid: %v", err)}
	}
	var all []string
	for _, cause := range status.ErrStatus.Details.Causes {
		message := cause.Message
		for _, known := range celCases() {
			if strings.HasSuffix(message, ": "+known.message) {
				message = known.message
			}
		}
		field := item.ReplaceAllString(cause.Field, "[]")
		if field == "<nil>" {
			field = ""
		}
		all = append(all, field+": "+message)
	}
	return all
}
