package observe

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestProbeOfWhatIsDeclared, while the previous credentials stay in use:
// it is what is declared that is tried, nothing is written with it before the
// place was found ours by it, and nothing is switched over.
func TestProbeOfWhatIsDeclared(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	now := moved(o)
	users := servers.S3WithUsers(t)
	server := users.Bucket(t)
	second := users.NewKeys(t, server)
	front := newReadOnlyFor(t, server.Endpoint, second.AccessKey)
	server.Endpoint = front.URL
	sb := bucketOf(server)
	keys := server
	look := func() status.Observation {
		now.add(time.Hour)
		seen := observeFully(t, o, sb, keysOf(&keys))
		sb.Status = status.Backend(seen, nil, sb.Status)
		return seen
	}
	if seen := look(); seen.Problem != nil {
		t.Fatal(seen.Problem)
	}
	serves := o.Opened()["objects"]
	probed := func() registrar.ProbeReport {
		t.Helper()
		report, err := serves.Prober.Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	before := probed()
	if !before.OK || before.Configuration != registrar.ConfigurationInService || before.Reason != "" {
		t.Errorf("while all is well: %+v", before)
	}
	full := o.lastFullOf("objects")

	keys.SecretKey = "wrong"
	if seen := look(); seen.Problem == nil || seen.Problem.Reason != storage.ReasonSecretKeyWrong || seen.LastGood != status.LastGoodServes {
		t.Fatalf("%+v", seen)
	}
	report := probed()
	if report.OK || len(report.Results) != 0 || report.Configuration != "" || report.Reason != storage.ReasonSecretKeyWrong || !strings.HasSuffix(report.Message, "; the previous credentials stay in use") {
		t.Errorf("a wrong secret: %+v", report)
	}

	keys = second
	if seen := look(); seen.Problem == nil || seen.Problem.Reason != storage.ReasonAccessDenied || seen.LastGood != status.LastGoodServes {
		t.Fatalf("%+v", seen)
	}
	at := front.refused.Load()
	report = probed()
	if report.OK || report.Configuration != registrar.ConfigurationDeclared || report.Reason != storage.ReasonAccessDenied || front.refused.Load() == at {
		t.Errorf("keys that may only read: %+v", report)
	}
	next := map[string]storage.Support{}
	for _, one := range report.Results {
		next[one.Name] = one.Status
	}
	if next[probe.Put] != storage.Unsupported || next[probe.List] != storage.Supported {
		t.Errorf("keys that may only read: %v", report.Results)
	}
	if is := o.Opened()["objects"]; is.Store != serves.Store || is.LastGood != status.LastGoodServes || o.lastFullOf("objects") != full {
		t.Errorf("a probe changed what serves: %+v", is)
	}

	// They may write now: it is said, and it is the next look that switches over.
	front.refuses.Store(false)
	report = probed()
	if put := report.Results[0]; report.OK || put.Status != storage.Supported || report.Configuration != registrar.ConfigurationDeclared || report.Reason != storage.ReasonAccessDenied {
		t.Errorf("before the next look: %+v", report)
	}
	if is := o.Opened()["objects"]; is.Store != serves.Store {
		t.Error("a probe switched over")
	}
	if seen := look(); seen.Problem != nil {
		t.Fatal(seen.Problem)
	}
	if is := o.Opened()["objects"]; is.Store == serves.Store {
		t.Error("the look did not switch over")
	}
	if report = probed(); !report.OK || report.Configuration != registrar.ConfigurationInService || report.Reason != "" {
		t.Errorf("after the next look: %+v", report)
	}
}

// lastFullOf is the full probe that is remembered.
func (o *Observer) lastFullOf(name string) *fullProbe {
	d := o.drivers.of(name)
	return d.full.last.Load()
}

// readOnlyFor is an S3 server of whose users one may read alone.
type readOnlyFor struct {
	URL     string
	refuses atomic.Bool
	refused atomic.Int64
}

func newReadOnlyFor(t *testing.T, endpoint, accessKey string) *readOnlyFor {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	}}
	front := &readOnlyFor{}
	front.refuses.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if reads || !front.refuses.Load() || !strings.Contains(r.Header.Get("Authorization"), accessKey) {
			forward.ServeHTTP(w, r)
			return
		}
		front.refused.Add(1)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>") //nolint:errcheck // a test's
	}))
	t.Cleanup(server.Close)
	front.URL = server.URL
	return front
}
