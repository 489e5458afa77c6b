package bounds

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// TestDownloadsLeaveConnections: whoever begins more downloads from a bucket than there
// are connections to it, and reads none of them, keeps nobody else from it.
func TestDownloadsLeaveConnections(t *testing.T) {
	const connections = 8
	w := newBucketWorldOf(t, fmt.Sprintf("    maxConnections: %d\n", connections))
	w.publish(w.other, "other", "small", nil, []byte(strings.Repeat("small", 100<<10)))
	upload, err := open(t.Context(), w.crowd, "crowd", "large", nil)
	w.must(err)
	stored, err := w.crowd.PutFile(t.Context(), upload.ID, "f", registry.Content{Reader: bytesOf(1, 32*mebibyte), Size: 32 * mebibyte})
	w.must(err)
	_, err = w.crowd.Publish(t.Context(), upload.ID, nil)
	w.must(err)
	for range 2 * connections {
		connection, err := net.Dial("tcp", strings.TrimPrefix(w.manager.URL, "http://"))
		w.must(err)
		t.Cleanup(func() { connection.Close() })                                                                                                                       //nolint:errcheck // a test's
		fmt.Fprintf(connection, "GET /v1/blobs/%s?producer=crowd HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer crowd-crowd-crowd-crowd\r\n\r\n", stored.Digests.SHA256) //nolint:errcheck // the answer tells
	}
	time.Sleep(time.Second) // they have what they get
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	name := digest.Of([]byte(strings.Repeat("small", 100<<10))).SHA256
	body, _, err := w.other.OpenBlob(registry.WithHolder(ctx, "other"), name, nil)
	if err != nil {
		t.Fatalf("another holder's read: %v", err)
	}
	_, err = io.Copy(io.Discard, body)
	w.must(err)
	w.must(body.Close())
	session, err := open(ctx, w.other, "other", "1", nil)
	w.must(err)
	if _, err = w.other.PutFile(ctx, session.ID, "f", registry.Content{Reader: strings.NewReader("another"), Size: 7}); err != nil {
		t.Fatalf("another holder's upload: %v", err)
	}
}
