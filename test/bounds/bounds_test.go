package bounds

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/size"
)

// asked is one request.
type asked struct {
	method, path string
	header       [2]string
	body         io.Reader // nil for none
	length       int64     // of it; -1 if it is not told
	stream       bool      // the answer has no end: some of it is read
}

// attack is one operation with the largest that it takes or gives.
type attack struct {
	operation string // its operationId
	clients   int    // 0: all
	moves     bool   // bytes of packages, or what they are published by
	before    func(w *world)
	ask       func(w *world, i int) asked
	// refusals that are right for some of those who ask at once.
	refusals []int
}

func get(path string) func(*world, int) asked {
	return func(*world, int) asked { return asked{method: http.MethodGet, path: path} }
}

// padded is a JSON body of as many bytes as it may have.
func padded(text string) (io.Reader, int64) {
	const most = 1*mebibyte - 1
	return io.MultiReader(strings.NewReader(text), strings.NewReader(strings.Repeat(" ", most-len(text)))), most
}

func posts(path, text string) func(*world, int) asked {
	return func(_ *world, i int) asked {
		body, length := padded(text)
		return asked{method: http.MethodPost, path: path, header: [2]string{"Content-Type", "application/json"}, body: body, length: length}
	}
}

// bytesOf gives some bytes that no other client has.
func bytesOf(i int, length int64) io.Reader {
	block := bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), 8<<10)
	return io.LimitReader(&again{block: block}, length)
}

type again struct {
	block []byte
	at    int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.block[a.at:])
	a.at = (a.at + n) % len(a.block)
	return n, nil
}

const file = "/v1/packages/crowd/n/large/files/f"

// attacks are in an order in which each finds what it needs.
var attacks = []attack{
	{operation: "openUpload", ask: func(w *world, i int) asked {
		body, length := padded(fmt.Sprintf(`{"producer":"crowd","name":"n","version":"attack-%d","retentionClass":"none","annotations":{%s}}`, i, annotationsText))
		return asked{method: http.MethodPost, path: "/v1/uploads", header: [2]string{"Content-Type", "application/json"}, body: body, length: length}
	}},
	{operation: "declareFiles", moves: true, clients: heavy, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPost, path: "/v1/uploads/" + w.session + "/files", header: [2]string{"Content-Type", "application/json"},
			body: bytes.NewReader(w.declared), length: []int64{int64(len(w.declared)), -1}[i%2]}
	}},
	{operation: "getUpload", ask: func(w *world, _ int) asked { return asked{method: http.MethodGet, path: "/v1/uploads/" + w.session} }},
	{operation: "putFile", moves: true, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPut, path: "/v1/uploads/" + w.sessions[i] + "/files/f", body: bytesOf(i, lengthOf(i)), length: []int64{lengthOf(i), -1}[i%2]}
	}},
	{operation: "appendFile", moves: true, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPatch, path: "/v1/uploads/" + w.sessions[i] + "/files/resumed", header: [2]string{"Content-Type", "application/partial-upload"},
			body: bytesOf(i+100, lengthOf(i)), length: lengthOf(i)}
	}},
	{operation: "fileProgress", ask: func(w *world, i int) asked {
		return asked{method: http.MethodHead, path: "/v1/uploads/" + w.sessions[i] + "/files/f"}
	}, refusals: []int{404}}, // of a client that has lost its turn before
	{operation: "putFiles", moves: true, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPost, path: "/v1/uploads/" + w.sessions[i] + "/bundle", header: [2]string{"Content-Type", "application/x-tar"},
			body: archive(i, size.Of(16, 100), 255<<10), length: -1}
	}},
	{operation: "publishPackage", moves: true, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPost, path: "/v1/packages", header: [2]string{"Content-Type", "multipart/form-data; boundary=b"},
			body: packageForm(i, nil), length: -1}
	}},
	{operation: "publishPackage", moves: true, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPost, path: "/v1/packages", header: [2]string{"Content-Type", "multipart/form-data; boundary=b"},
			body: packageForm(i, largestManifest(w.t, i)), length: -1}
	}, refusals: []int{409}}, // nothing else of it is there
	{operation: "publishUpload", moves: true, clients: clients, before: func(w *world) {
		_, err := w.crowd.PutFile(w.t.Context(), w.session, "a/folder/of/the/tree/with/a/name/000000.txt", registry.Content{Reader: strings.NewReader("1"), Size: 1})
		w.must(err)
	}, ask: func(w *world, i int) asked {
		return asked{method: http.MethodPost, path: "/v1/uploads/" + w.session + "/publish", header: [2]string{"Content-Type", "application/cbor"},
			body: bytes.NewReader(w.encoded), length: []int64{int64(len(w.encoded)), -1}[i%2]}
	}},
	{operation: "listPackages", ask: get("/v1/packages?limit=1000")},
	{operation: "listVersions", ask: get("/v1/packages/crowd/n?limit=1000")},
	{operation: "listPackageFiles", ask: get("/v1/packages/crowd/n/big/files?limit=1000")},
	{operation: "listPackageFiles", ask: get("/v1/packages/crowd/n/big/files?limit=1000&below=no/such/folder")},
	{operation: "listPackages", ask: get("/v1/packages?limit=1000&nameGlob=**zzz&annotation=no=such")},
	{operation: "findBlobUses", ask: func(w *world, _ int) asked {
		return asked{method: http.MethodGet, path: "/v1/blobs/" + w.one.String() + "/uses?limit=1000"}
	}},
	{operation: "setTag", ask: func(_ *world, i int) asked {
		body, length := padded(fmt.Sprintf(`{"version":"annotated-%d"}`, i%6))
		return asked{method: http.MethodPut, path: "/v1/tags/crowd/n/tag", header: [2]string{"Content-Type", "application/json"}, body: body, length: length}
	}},
	{operation: "getTag", ask: get("/v1/tags/crowd/n/tag")},
	{operation: "listTags", before: func(w *world) {
		head, err := w.crowd.LogHead(w.t.Context())
		w.must(err)
		w.head = head.Position
	}, ask: func(w *world, _ int) asked {
		return asked{method: http.MethodGet, path: fmt.Sprintf("/v1/tags/crowd/n?limit=1000&at=%d", w.head)}
	}},
	{operation: "listTagHistory", ask: get("/v1/tags/crowd/n/tag/history?limit=1000")},
	{operation: "removeTag", ask: func(*world, int) asked { return asked{method: http.MethodDelete, path: "/v1/tags/crowd/n/tag"} }, refusals: []int{404}},
	{operation: "getPackage", ask: get("/v1/packages/crowd/n/annotated-0")},
	{operation: "getPackageFile", moves: true, before: func(w *world) {
		upload, err := open(w.t.Context(), w.crowd, "crowd", "large", nil)
		w.must(err)
		stored, err := w.crowd.PutFile(w.t.Context(), upload.ID, "f", registry.Content{Reader: bytesOf(1000, largest), Size: largest})
		w.must(err)
		w.large = stored.Digests.SHA256
		_, err = w.crowd.Publish(w.t.Context(), upload.ID, nil)
		w.must(err)
	}, ask: get(file)},
	{operation: "headPackageFile", ask: func(*world, int) asked { return asked{method: http.MethodHead, path: file} }},
	{operation: "getBlob", ask: func(w *world, _ int) asked {
		return asked{method: http.MethodGet, path: "/v1/blobs/" + w.large.String(), header: [2]string{"Range", "bytes=1-"}}
	}},
	{operation: "headBlob", ask: func(w *world, _ int) asked {
		return asked{method: http.MethodHead, path: "/v1/blobs/" + w.large.String()}
	}},
	{operation: "getManifest", moves: true, ask: func(w *world, _ int) asked {
		return asked{method: http.MethodGet, path: w.manifestPath(), header: [2]string{"Accept", "application/cbor"}}
	}},
	{operation: "getManifest", moves: true, clients: heavy, ask: func(w *world, _ int) asked {
		return asked{method: http.MethodGet, path: w.manifestPath(), header: [2]string{"Accept", "application/json"}}
	}},
	{operation: "readEvents", ask: get("/v1/events?limit=1000")},
	{operation: "readEvents", ask: get("/v1/events?limit=1000&actor=nobody")},
	{operation: "readEvents", ask: func(*world, int) asked {
		return asked{method: http.MethodGet, path: "/v1/events", header: [2]string{"Accept", "text/event-stream"}, stream: true}
	}},
	{operation: "explainRouting", ask: posts("/v1/routing/explain", `{"producer":"crowd","retentionClass":"none"}`)},
	{operation: "listBackends", ask: get("/v1/backends")},
	{operation: "getBackend", ask: get("/v1/backends/only")},
	{operation: "probeBackend", ask: func(*world, int) asked { return asked{method: http.MethodPost, path: "/v1/backends/only/probe"} }, refusals: []int{409}},
	{operation: "listLocations", ask: get("/v1/backends/only/locations?limit=1000")},
	{operation: "recordFindings", ask: func(w *world, i int) asked {
		return posts("/v1/backends/only/findings", fmt.Sprintf(`{"verified":["%s"%s]}`, w.one, strings.Repeat(`,"`+w.large.String()+`"`, 999)))(w, i)
	}, refusals: []int{400, 409}},
	{operation: "verifyBackend", ask: func(*world, int) asked {
		return asked{method: http.MethodPost, path: "/v1/backends/only/verifications"}
	}, refusals: []int{409}},
	{operation: "sweepBackend", ask: func(*world, int) asked {
		return asked{method: http.MethodPost, path: "/v1/backends/only/sweeps?dryRun=true"}
	}, refusals: []int{409}},
	{operation: "getHealth", ask: get("/v1/health")},
	{operation: "whoAmI", ask: get("/v1/whoami?producer=crowd")},
	{operation: "livez", ask: get("/livez")},
	{operation: "readyz", ask: get("/readyz")},
	{operation: "metrics", ask: get("/metrics")},
	{operation: "openapi", ask: get("/openapi.json")},
	{operation: "abandonUpload", ask: func(w *world, i int) asked {
		return asked{method: http.MethodDelete, path: "/v1/uploads/" + w.sessions[i]}
	}},
	// The last: every file of the largest package has lost its bytes then.
	{operation: "listDamaged", clients: heavy, before: func(w *world) {
		w.remove(w.one)
		_, err := w.crowd.VerifyBackend(w.t.Context(), "only", registry.VerifyOptions{}, nil)
		w.must(err)
	}, ask: get("/v1/damaged?limit=1000")},
}

func (w *world) manifestPath() string { return "/v1/manifests/" + digest.Of(w.encoded).SHA256.String() }

var annotationsText = func() string {
	var pairs []string
	for key, value := range annotations() {
		pairs = append(pairs, fmt.Sprintf("%q:%q", key, value))
	}
	return strings.Join(pairs, ",")
}()

// archive is a bundle of files of that length.
func archive(client, files, length int) io.Reader {
	reader, writer := io.Pipe()
	go func() {
		to := tar.NewWriter(writer)
		err := error(nil)
		for i := 0; i < files && err == nil; i++ {
			if err = to.WriteHeader(&tar.Header{Name: fmt.Sprint("bundled-", i), Size: int64(length), Mode: 0o644}); err == nil {
				_, err = io.Copy(to, bytesOf(client*1000+i, int64(length)))
			}
		}
		writer.CloseWithError(errors.Join(err, to.Close())) //nolint:errcheck // never fails
	}()
	return reader
}

// packageForm is the largest package that is published by one request.
func packageForm(i int, encoded []byte) io.Reader {
	more, described := "", ""
	if encoded != nil {
		more = fmt.Sprintf(`,"manifestSize":%d`, len(encoded))
		described = "\r\n--b\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\n" + string(encoded)
	}
	return io.MultiReader(
		strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"package\"\r\n\r\n"+
			fmt.Sprintf(`{"producer":"crowd","name":"once","version":"%d","retentionClass":"none"%s}`, i, more)+described+
			"\r\n--b\r\nContent-Disposition: form-data; name=\"files\"\r\n\r\n"),
		archive(i, registry.MaxFilesAtOnce, registry.MaxBytesAtOnce/registry.MaxFilesAtOnce),
		strings.NewReader("\r\n--b--\r\n"))
}

// largestManifest that a package by one request may have: of the files of packageForm, and
// of as many others as there is room for, each with a content of its own.
func largestManifest(t *testing.T, i int) []byte {
	t.Helper()
	m := manifest.Manifest{Producer: "crowd", Name: "once", Version: fmt.Sprint(i)}
	files := tar.NewReader(archive(i, registry.MaxFilesAtOnce, registry.MaxBytesAtOnce/registry.MaxFilesAtOnce))
	for {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		content, readErr := io.ReadAll(files)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, manifest.File{Path: header.Name, Size: header.Size, Digests: digest.Of(content)})
	}
	const fileBytes = 120 // at least, in the encoding
	for n := range (registry.MaxManifestAtOnce - 64<<10) / fileBytes {
		m.Files = append(m.Files, manifest.File{Path: fmt.Sprintf("z%06d", n), Size: 1, Digests: digest.Of(fmt.Appendf(nil, "%d of %d", n, i))})
	}
	encoded, err := manifest.Encode(&m)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// TestEveryOperationIsBounded is one test: its parts follow each other.
func TestEveryOperationIsBounded(t *testing.T) {
	t.Parallel()
	w := newFolderWorld(t)
	served := w.operations()
	for _, a := range attacks {
		if !served[a.operation] {
			t.Errorf("%s is not served", a.operation)
		}
	}
	for operation := range served {
		if !slices.ContainsFunc(attacks, func(a attack) bool { return a.operation == operation }) {
			t.Errorf("%s is not in the table: add its largest legal input and answer", operation)
		}
	}
	w.bound(attacks)
}

// TestBoundedInBuckets: there uploads take the large buffers beside all else. The
// operations that move no bytes of packages are in the full form only.
func TestBoundedInBuckets(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t)
	w.bound(slices.DeleteFunc(slices.Clone(attacks), func(a attack) bool { return size.Of(!a.moves, false) }))
}

// bound asks for one operation after another, while another holder reads and writes.
func (w *world) bound(all []attack) {
	w.fill()
	ctx, stop := context.WithCancel(w.t.Context())
	var beside sync.WaitGroup
	other := &bystander{w: w}
	beside.Go(func() { other.read(ctx) })
	beside.Go(func() { other.write(ctx) })
	for _, a := range all {
		if a.before != nil {
			a.before(w)
		}
		w.resetPeak()
		other.begin()
		began := time.Now()
		w.run(a)
		peak, longest := w.peak(), other.longest()
		w.t.Logf("%-16s peak %3d MiB, %5.1f s; another holder waited up to %.2f s", a.operation, peak/mebibyte, time.Since(began).Seconds(), longest.Seconds())
		if peak > bufferBytes+besides {
			w.t.Errorf("%s: the manager took %d MiB, may take %d", a.operation, peak/mebibyte, (bufferBytes+besides)/mebibyte)
		}
		if longest > patience {
			w.t.Errorf("%s: another holder waited %v for an answer", a.operation, longest)
		}
	}
	stop()
	beside.Wait()
}

// run has all clients ask at once: every fourth one is slow.
func (w *world) run(a attack) {
	n := a.clients
	if n == 0 {
		n = clients
	}
	var asking sync.WaitGroup
	for i := range n {
		asking.Go(func() {
			slow := i%4 == 3 // and may lose its turn
			asked := a.ask(w, i)
			status, err := w.ask(asked, slow)
			lost := slow && asked.body != nil && status == http.StatusRequestTimeout
			if err != nil || status >= 300 && !lost && !slices.Contains(a.refusals, status) {
				w.t.Errorf("%s, client %d: %d, %v", a.operation, i, status, err)
			}
		})
	}
	asking.Wait()
}

// streamed is how much is read of an answer that has no end.
const streamed = 4 << 10

func (w *world) ask(a asked, slow bool) (int, error) {
	if a.body != nil && slow {
		a.body = &slowly{a.body, max(a.length/2, 100<<10)}
	}
	request, err := http.NewRequest(a.method, w.manager.URL+a.path, a.body)
	if err != nil {
		return 0, err
	}
	request.ContentLength = a.length
	if a.body == nil {
		request.ContentLength = 0
	}
	request.Header.Set("Authorization", "Bearer crowd-crowd-crowd-crowd")
	if a.header[0] != "" {
		request.Header.Set(a.header[0], a.header[1])
	}
	if a.method == http.MethodPatch {
		request.Header.Set("Upload-Offset", "0")
		request.Header.Set("Upload-Complete", "?1")
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close() //nolint:errcheck // a test's
	from := io.Reader(response.Body)
	if slow {
		from = &slowly{from, streamed / 2}
	}
	if a.stream {
		_, err = io.CopyN(io.Discard, from, streamed)
	} else {
		_, err = io.Copy(io.Discard, from)
	}
	return response.StatusCode, err
}
