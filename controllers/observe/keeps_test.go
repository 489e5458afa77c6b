package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// probed counts the objects that probes have left, and their versions where the server
// keeps them.
func probed(t *testing.T, server servers.S3Server, versions bool) (count int) {
	t.Helper()
	if !versions {
		listed, err := server.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &server.Bucket, Prefix: aws.String(storage.ProbePrefix)})
		if err != nil {
			t.Fatal(err)
		}
		return len(listed.Contents)
	}
	pages := s3.NewListObjectVersionsPaginator(server.Client(), &s3.ListObjectVersionsInput{Bucket: &server.Bucket, Prefix: aws.String(storage.ProbePrefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		count += len(page.Versions) + len(page.DeleteMarkers)
	}
	return count
}

// keepingPlace is what the tests of such places share.
func keepingPlace(t *testing.T, server servers.S3Server, deny bool) (look func(o *Observer), ready func() bool, o *Observer, now *clock, sb *v1alpha1.StorageBackend, proxy *faultproxy.Proxy) {
	t.Helper()
	o, _ = newObserver(t, nil)
	now = moved(o)
	proxy = faultproxy.HTTP(t, server.Endpoint)
	if deny {
		proxy.Arm(faultproxy.Fault{Kind: faultproxy.DeleteObject, Where: faultproxy.BeforeRequest, Action: faultproxy.Answer, Status: 403, Code: "AccessDenied", Always: true})
	}
	server.Endpoint = proxy.URL
	sb = bucketOf(server)
	look = func(o *Observer) {
		t.Helper()
		seen := observeFully(t, o, sb, keysOf(&server))
		sb.Status = status.Backend(seen, nil, sb.Status)
	}
	ready = func() bool { is, _, _ := status.Readiness(sb); return is }
	return look, ready, o, now, sb, proxy
}

func deleting(sb *v1alpha1.StorageBackend) storage.Support {
	for _, c := range sb.Status.Capabilities {
		if c.Name == probe.Delete {
			return storage.Support(c.Status)
		}
	}
	return ""
}

// TestAPlaceThatKeepsIsProbedByReading: keys that may not delete, or a bucket that locks
// each object, take new blobs. Once that is known, looks leave nothing, also those of
// another process, and a day leaves one version.
func TestAPlaceThatKeepsIsProbedByReading(t *testing.T) {
	t.Parallel()
	for name, deny := range map[string]bool{"keys that may not delete": true, "a bucket that locks": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := servers.S3(t)
			if !deny {
				server = servers.S3Locked(t, servers.VersityGW)
			}
			look, ready, o, now, sb, _ := keepingPlace(t, server, deny)
			look(o)
			if !ready() || deleting(sb) != storage.Unsupported {
				t.Fatalf("%+v", sb.Status)
			}
			left := probed(t, server, !deny)
			for range 5 {
				now.add(time.Minute)
				look(o)
			}
			if more := probed(t, server, !deny) - left; more != 0 || !ready() {
				t.Errorf("five looks left %d versions; ready: %v", more, ready())
			}
			now.add(fullInterval)
			look(o)
			left = probed(t, server, !deny)
			now.add(fullInterval)
			look(o)
			if more := probed(t, server, !deny) - left; more > 1 || !ready() {
				t.Errorf("a day left %d versions; ready: %v", more, ready())
			}
			next, _ := newObserver(t, nil)
			next.registrar, next.now = o.registrar, o.now
			left = probed(t, server, !deny)
			look(next)
			if more := probed(t, server, !deny) - left; more > 1 || !ready() || deleting(sb) != storage.Unsupported {
				t.Errorf("another process left %d versions; ready: %v", more, ready())
			}
		})
	}
}

// TestDeletingIsAllowedAgain: from then on the place is probed as any other.
func TestDeletingIsAllowedAgain(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	look, ready, o, now, sb, proxy := keepingPlace(t, server, true)
	look(o)
	proxy.Arm()
	now.add(fullInterval)
	look(o)
	if !ready() || deleting(sb) != storage.Supported {
		t.Fatalf("%+v", sb.Status)
	}
	puts := func() (count int) {
		for _, exchange := range proxy.Exchanges() {
			if exchange.Kind == faultproxy.PutObject && strings.Contains(exchange.Path, storage.ProbePrefix) {
				count++
			}
		}
		return count
	}
	before := puts()
	now.add(time.Minute)
	look(o)
	if puts() == before || !ready() {
		t.Error("the place is still probed by reading")
	}
}
