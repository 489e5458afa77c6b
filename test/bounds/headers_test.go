package bounds

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// TestHeadersOfBundlesAreBounded: hundreds of bundles that stop within the longest
// header that a tar archive may have hold next to nothing.
func TestHeadersOfBundlesAreBounded(t *testing.T) {
	w := newFolderWorld(t)
	upload, err := open(t.Context(), w.crowd, "crowd", "1", nil)
	w.must(err)
	var archive bytes.Buffer
	to := tar.NewWriter(&archive)
	w.must(to.WriteHeader(&tar.Header{Name: "f", Size: 1, Mode: 0o644, PAXRecords: map[string]string{"A.comment": strings.Repeat("x", 1000<<10)}}))
	_, err = to.Write([]byte("1"))
	w.must(err)
	w.must(to.Close())
	w.resetPeak()
	const connections = 300
	var sending sync.WaitGroup
	for range connections {
		connection, err := net.Dial("tcp", strings.TrimPrefix(w.manager.URL, "http://"))
		w.must(err)
		t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
		sending.Go(func() {
			fmt.Fprintf(connection, "POST /v1/uploads/%s/bundle HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer crowd-crowd-crowd-crowd\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n%s", //nolint:errcheck // it may be refused
				upload.ID, archive.Len(), archive.Bytes()[:990<<10])
		})
	}
	sending.Wait()
	time.Sleep(time.Second)
	t.Logf("peak %d MiB", w.peak()/mebibyte)
	if w.peak() > bufferBytes+besides {
		t.Errorf("the manager took %d MiB, may take %d", w.peak()/mebibyte, (bufferBytes+besides)/mebibyte)
	}
	stored, err := w.other.PutFile(t.Context(), upload.ID, "other", registry.Content{Reader: strings.NewReader("1"), Size: 1})
	if err != nil || stored.Size != 1 {
		t.Errorf("a file beside them: %+v, %v", stored, err)
	}
}
