package declared

import (
	"strings"
	"testing"
)

// TestMessages of what is wrong in a file: the field, the value, and what to write instead.
func TestMessages(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		"StorageBackend a {s3: {bucket: bbb, endpointURL: 'http://user:pass@host'}}":                                    "spec.s3.endpointURL: must not contain a user or password",
		"StorageBackend a {s3: {bucket: bbb, endpointURL: 'http://host?a=b'}}":                                          "spec.s3.endpointURL: must not contain a query or fragment",
		"StorageBackend a {s3: {bucket: bbb, endpointURL: 'http://host/bbb'}}":                                          "spec.s3.endpointURL: must not contain a path: the bucket and keyPrefix have fields of their own",
		"StorageBackend a {s3: {bucket: ab}}":                                                                           `spec.s3.bucket: "ab" must be at least 3 characters`,
		"StorageBackend a {s3: {region: a}}":                                                                            "spec.s3.bucket: must be set",
		"StorageBackend a {s3: {bucket: bbb, maxConnections: 1025}}":                                                    "spec.s3.maxConnections: 1025 must be at most 1024",
		"StorageBackend a {s3: {bucket: bbb, multipartChunkBytes: 100}}":                                                "spec.s3.multipartChunkBytes: 100 must be at least 5242880",
		"StorageBackend a {s3: {bucket: bbb, maxConnections: many}}":                                                    "spec.s3.maxConnections: must be of type integer, is string",
		"StorageBackend a {s3: {bucket: bbb, requestTimeout: soon}}":                                                    `spec.s3.requestTimeout: "soon" must be a duration such as 30s or 5m`,
		"StorageBackend a {s3: {bucket: bbb, sse: none}}":                                                               `spec.s3.sse: "none" must be one of "None", "SSE-S3"`,
		"StorageBackend a {local: {path: ''}}":                                                                          "spec.local.path: must not be empty",
		"StorageBackend a {s3: {bucket: bbb, caBundleRef: {name: '', key: k}}}":                                         "spec.s3.caBundleRef.name: must not be empty",
		"StorageBackend a {s3: {bucket: bbb, caBundleRef: {name: keys, key: ''}}}":                                      "spec.s3.caBundleRef.key: must not be empty",
		"StorageBackend a {s3: {bucket: bbb, caBundleRef: {env: ''}}}":                                                  "spec.s3.caBundleRef.env: must not be empty",
		"StorageBackend a {s3: {bucket: bbb, caBundleRef: {file: ''}}}":                                                 "spec.s3.caBundleRef.file: must not be empty",
		"StorageBackend a {local: {path: a, color: red}}":                                                               "spec.local.color: unknown field",
		"StorageBackend a {s3: {bucket: ab, color: red}}":                                                               `spec.s3.color: unknown field; spec.s3.bucket: "ab" must be at least 3 characters`,
		"StorageBackend a {access: ReadWrite}":                                                                          "spec: exactly one of s3 and local must be set",
		"StorageBackend a {local: {path: a}, probe: {failureThreshold: 0}}":                                             "spec.probe.failureThreshold: 0 must be at least 1",
		"StorageBackend a {local: {path: a}, verification: {mode: Full}}":                                               "spec.verification.schedule: must be set",
		"StorageBackend a {local: {path: a}, verification: {schedule: 0 3 * * *, timeZone: A}}":                         `spec.verification.timeZone: "A" must be the name of a time zone such as Europe/Berlin, but not Local`,
		"StorageBackend a {local: {path: a}, verification: {schedule: 0 3 * * *, resources: {limits: {memory: much}}}}": `spec.verification.resources.limits.memory: "much" must be a quantity, for example 500m or 64Mi`,
		"StorageBackend Not_A_Name {local: {path: a}}":                                                                  `metadata.name: "Not_A_Name" must consist of lower-case letters, digits, '-' and '.', and start and end with a letter or digit`,
		"StorageBackend '' {local: {path: a}}":                                                                          "metadata.name: must be set",
		"StorageBackend a {s3: {bucket: bbb, maxConnections: 1.5}}":                                                     "spec.s3.maxConnections: must be an integer of 32 bits",
		"StorageBackend a {s3: {bucket: bbb, maxConnections: 3000000000}}":                                              "spec.s3.maxConnections: must be an integer of 32 bits; spec.s3.maxConnections: 3000000000 must be at most 1024",
		"StorageBackend a {local: {path: a}, verification: {schedule: H 99 * * *}}":                                     `spec.verification.schedule: "H 99 * * *": the hour must be from 0 to 23`,
		"RoutingPolicy a {rules: []}":                                                                                   "spec.rules: at least 1 must be given",
	} {
		kind, rest, _ := strings.Cut(document, " ")
		name, spec, _ := strings.Cut(rest, " ")
		var d Declaration
		err := d.Read("a.yaml", []byte("apiVersion: artifactstore.dev/v1alpha1\nkind: "+kind+"\nmetadata: {name: "+name+"}\nspec: "+spec+"\n"))
		if err == nil || err.Error() != "a.yaml, document 1: "+want {
			t.Errorf("%s: %v; want %s", document, err, want)
		}
	}
}

// A file gets the defaults of the schema, and no status.
func TestFilesAreDefaulted(t *testing.T) {
	t.Parallel()
	var d Declaration
	if err := d.Read("a.yaml", []byte("apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata: {name: a}\nspec: {s3: {bucket: bbb}}\nstatus: {id: x}\n")); err != nil {
		t.Fatal(err)
	}
	sb := d.Backends[0]
	if sb.Spec.Access != "ReadWrite" || sb.Spec.Probe.Interval.Duration != DefaultInterval || sb.Spec.S3.MaxConnections != 512 || sb.Status.ID != "" || sb.Status.ObservedGeneration != 0 {
		t.Errorf("%+v", sb)
	}
}
