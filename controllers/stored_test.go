package controllers

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// TestStoredObjectsStayValid: what an earlier version of the schema admitted can
// still be written to, its status and finalizers too, though it would be refused now.
func TestStoredObjectsStayValid(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	const good = "{local: {path: /a}, verification: {schedule: 0 3 * * *, timeZone: Europe/Berlin}}"
	o := object(t, ns, "StorageBackend", "old", good)
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString([]byte("/registry/artifactstore.dev/storagebackends/" + ns + "/old"))
	var found struct{ Kvs []struct{ Value []byte } }
	etcd(t, "range", map[string]string{"key": key}, &found)
	if len(found.Kvs) != 1 {
		t.Fatalf("%d objects are stored", len(found.Kvs))
	}
	stored := strings.NewReplacer(`"0 3 * * *"`, `"0 0 30 2 *"`, `"Europe/Berlin"`, `"Europe/Berln"`).Replace(string(found.Kvs[0].Value))
	etcd(t, "put", map[string]string{"key": key, "value": base64.StdEncoding.EncodeToString([]byte(stored))}, nil)

	var sb v1alpha1.StorageBackend
	eventually(t, func() string {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "old"}, &sb); err != nil || sb.Spec.Verification.TimeZone != "Europe/Berln" {
			return "the API server does not have what is stored"
		}
		return ""
	})
	marked(t, c, object(t, ns, "StorageBackend", "old", good))
	for what, change := range map[string]func(){
		"a finalizer":   func() { sb.Finalizers = []string{v1alpha1.Finalizer} },
		"an annotation": func() { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: "now"} },
		"another field": func() { sb.Spec.Access = v1alpha1.ReadOnly },
		"the end of it": func() { sb.Finalizers = nil },
	} {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(&sb), &sb); err != nil {
			t.Fatal(err)
		}
		change()
		if err := c.Update(t.Context(), &sb); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	sb.Spec.Verification.Schedule = "0 0 31 2 *"
	check(t, "a schedule that is new", c.Update(t.Context(), &sb), "must occur")
}

// etcd asks the API server's store by its JSON gateway.
func etcd(t *testing.T, method string, body, into any) {
	t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(plane.env.ControlPlane.Etcd.URL.String()+"/v3/kv/"+method, "application/json", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("etcd: %s", answer.Status)
	}
	if into == nil {
		return
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}
