// Package bounds is the proof that the memory and the time of a request are
// bounded: every operation of the served openapi.json gets its largest legal
// input and answer from many clients at once, slow and quick ones mixed. What the
// manager then takes is what it says, and another holder is answered.
package bounds

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

const (
	mebibyte = 1 << 20
	// bufferBytes is the manager's default.
	bufferBytes = 96 * mebibyte
	// besides is what the manager may take in addition.
	besides = 136 * mebibyte
	// patience is how long the other holder may wait for an answer.
	patience = 10 * time.Second
)

var (
	// clients of an operation at once.
	clients = 32
	// heavy is how many of them there are where each keeps a core busy for seconds.
	heavy = size.Of(3, 32)
	// largest stream of bytes, of the first client that sends one, and those of the
	// others: the memory for one does not depend on its length, but that of the disk does.
	largest, others = size.Of[int64](16*mebibyte, 1024*mebibyte), size.Of[int64](16*mebibyte, 32*mebibyte)
	// pause of a slow client in the middle of what it sends or reads: longer than
	// another holder may have to wait.
	pause = size.Of(500*time.Millisecond, patience+2*time.Second)
)

// lengthOf what a client sends.
func lengthOf(client int) int64 {
	if client == 0 {
		return largest
	}
	return others
}

// world is a manager and what is in it.
type world struct {
	t       *testing.T
	manager *programs.Manager
	crowd   *client.Client // of the holder who sends everything
	other   *client.Client
	remove  func(digest.Digest) // of a blob from its place

	big      registry.PackageRef // of manifest.MaxFiles files
	encoded  []byte              // its manifest
	declared []byte              // the declaration of its files
	session  string              // of it, open until it is published
	large    digest.Digest       // a blob of the largest size
	one      digest.Digest       // the content of all files of big
	sessions []string            // small ones, one for each client
	head     uint64              // a position of the log
}

const config = `apiVersion: artifactstore.dev/v1alpha1
kind: StorageBackend
metadata:
  name: only
spec:
`

const tokens = `tokens:
- name: crowd
  token: crowd-crowd-crowd-crowd
  allow: [{resource: "*", verbs: ["*"]}]
- name: crowd-2
  token: crowd-2-crowd-2-crowd-2-crowd-2
  allow: [{resource: "*", verbs: ["*"]}]
- name: other
  token: other-other-other-other
  allow: [{resource: "*", verbs: ["*"]}]
`

// newFolderWorld has a folder and SQLite.
func newFolderWorld(t *testing.T) *world {
	data := t.TempDir()
	w := newWorld(t, data, "", "  local:\n    path: objects\n")
	w.remove = func(name digest.Digest) {
		w.must(os.Remove(filepath.Join(data, "objects", filepath.FromSlash(storage.Key(name)))))
	}
	return w
}

// newBucketWorld has a bucket and PostgreSQL.
func newBucketWorld(t *testing.T, more ...string) *world { return newBucketWorldOf(t, "", more...) }

// newBucketWorldOf has more settings of spec.s3.
func newBucketWorldOf(t *testing.T, settings string, more ...string) *world {
	server, secrets := servers.S3(t), t.TempDir()
	for name, secret := range map[string]string{"access": server.AccessKey, "secret": server.SecretKey} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, t.TempDir(), servers.Postgres(t), fmt.Sprintf(
		"  s3:\n    endpointURL: %s\n    region: %s\n    bucket: %s\n    accessKeyRef: {file: %s/access}\n    secretKeyRef: {file: %s/secret}\n%s",
		server.Endpoint, server.Region, server.Bucket, secrets, secrets, settings), more...)
	w.remove = func(name digest.Digest) {
		key := storage.Key(name)
		_, err := server.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &server.Bucket, Key: &key})
		w.must(err)
	}
	return w
}

func newWorld(t *testing.T, data, database, place string, more ...string) *world {
	w := &world{t: t}
	folder := t.TempDir()
	tokenFile := filepath.Join(t.TempDir(), "tokens.yaml")
	for path, text := range map[string]string{filepath.Join(folder, "backend.yaml"): config + place, tokenFile: tokens} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--config-dir", folder, "--data-dir", data, "--token-file", tokenFile}
	if database != "" {
		args = append(args, "--database", database)
	}
	w.manager = programs.StartManager(t, append(args, more...), nil)
	w.crowd, w.other = w.client("crowd"), w.client("other")
	programs.Eventually(t, func() error {
		only, err := w.crowd.GetBackend(t.Context(), "only")
		if err == nil && !only.Ready {
			err = fmt.Errorf("the backend is not ready: %s", only.Message)
		}
		return err
	})
	return w
}

func (w *world) client(holder string) *client.Client {
	w.t.Helper()
	token := strings.Repeat(holder+"-", 3) + holder
	c, err := client.New(w.manager.URL, client.Options{InsecureToken: true, Token: func() (storage.Secret, error) { return storage.NewSecret(token), nil }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open begins a session of the holder's.
func open(ctx context.Context, c *client.Client, producer, version string, annotations map[string]string) (registry.Upload, error) {
	return c.OpenUpload(ctx, registry.OpenUpload{
		PackageRef: registry.PackageRef{Producer: producer, Name: "n", Version: version}, RetentionClass: "none", Annotations: annotations,
	})
}

// annotations are as large as they may be.
func annotations() map[string]string {
	all := make(map[string]string, registry.MaxAnnotations)
	for i := range registry.MaxAnnotations {
		all[fmt.Sprintf("%0*d", registry.MaxAnnotationKey, i)] = strings.Repeat("x", registry.MaxAnnotationValue)
	}
	return all
}

// fill makes what the operations below are asked about.
func (w *world) fill() {
	ctx, content := w.t.Context(), []byte("1")
	w.one = digest.Of(content).SHA256
	w.big = registry.PackageRef{Producer: "crowd", Name: "n", Version: "big"}
	m := manifest.Manifest{Producer: w.big.Producer, Name: w.big.Name, Version: w.big.Version}
	declaration := struct {
		Files []registry.FileDeclaration `json:"files"`
	}{}
	length := int64(len(content))
	for i := range manifest.MaxFiles {
		path := fmt.Sprintf("a/folder/of/the/tree/with/a/name/%06d.txt", i)
		m.Files = append(m.Files, manifest.File{Path: path, Size: length, Digests: digest.Of(content)})
		declaration.Files = append(declaration.Files, registry.FileDeclaration{Path: path, Size: &length, Digests: digest.Of(content)})
	}
	var err error
	w.encoded, err = manifest.Encode(&m)
	w.must(err)
	w.declared, err = json.Marshal(declaration)
	w.must(err)
	upload, err := open(ctx, w.crowd, w.big.Producer, w.big.Version, nil)
	w.must(err)
	w.session = upload.ID

	for i := range clients {
		upload, err := open(ctx, w.crowd, "crowd", fmt.Sprint("open-", i), nil)
		w.must(err)
		w.sessions = append(w.sessions, upload.ID)
	}
	for i := range 6 { // some pages of packages with all that they may have
		w.publish(w.crowd, "crowd", fmt.Sprint("annotated-", i), annotations(), content)
	}
	w.publish(w.other, "other", "small", nil, []byte("small"))
}

// publish publishes a package of one file.
func (w *world) publish(c *client.Client, producer, version string, annotations map[string]string, content []byte) {
	w.t.Helper()
	upload, err := open(w.t.Context(), c, producer, version, annotations)
	w.must(err)
	_, err = c.PutFile(w.t.Context(), upload.ID, "f", registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))})
	w.must(err)
	_, err = c.Publish(w.t.Context(), upload.ID, nil)
	w.must(err)
}

// peak returns the most memory since resetPeak: the kernel's VmHWM.
func (w *world) peak() int64 {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.manager.PID()))
	w.must(err)
	var kilobytes int64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &kilobytes)
	w.must(err)
	return kilobytes << 10
}

// resetPeak lets each operation answer for itself (proc(5), clear_refs).
func (w *world) resetPeak() {
	w.t.Helper()
	w.must(os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", w.manager.PID()), []byte("5"), 0))
}

// operations returns the operations that the manager serves.
func (w *world) operations() map[string]bool {
	w.t.Helper()
	response, err := http.Get(w.manager.URL + "/openapi.json")
	w.must(err)
	defer response.Body.Close() //nolint:errcheck // a test's
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	w.must(json.NewDecoder(response.Body).Decode(&document))
	all := map[string]bool{}
	for path, methods := range document.Paths {
		for method, operation := range methods {
			if operation.OperationID == "" {
				w.t.Errorf("%s %s has no operationId", method, path)
			}
			all[operation.OperationID] = true
		}
	}
	return all
}

// slowly pauses once, in the middle of size bytes.
type slowly struct {
	io.Reader
	left int64 // until the pause
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.left = -1
		time.Sleep(pause)
	}
	if s.left > 0 {
		p = p[:min(int64(len(p)), s.left)]
	}
	n, err := s.Reader.Read(p)
	if s.left > 0 {
		s.left -= int64(n)
	}
	return n, err
}
