package controllers

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// says waits for a line of the log.
func (c *cluster) says(line string) {
	c.t.Helper()
	pattern := regexp.MustCompile("(?m)" + line)
	eventually(c.t, func() string {
		if text := c.logs.String(); !pattern.MatchString(text) {
			return fmt.Sprintf("no line %q", line)
		}
		return ""
	})
}

// TestClusterLogsWhatTurns: a backend that fails is in the log, and why.
func TestClusterLogsWhatTurns(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("logged")
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"logged"}}}}}
	c.create(p)
	c.says(`level=INFO msg=backend backend=logged ready=True reason=Ready `)
	c.says(`level=INFO msg=policy policy=p condition=Ready status=True `)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: 3, Failed: 1, Missing: 1})
	c.registrar.Age(sb.Status.ID, true)
	if err := os.Rename(sb.Spec.Local.Path, sb.Spec.Local.Path+"-away"); err != nil {
		t.Fatal(err)
	}
	ask := func(value string) {
		c.edit(sb, func() { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: value} })
	}
	ask("1")
	c.says(`level=WARN msg=backend backend=logged ready=False reason=FolderNotFound message=.*` + regexp.QuoteMeta(sb.Spec.Local.Path))
	c.says(`level=WARN msg=verification backend=logged condition=Verified status=False reason=MissingLocations `)
	c.says(`level=WARN msg=policy policy=p condition=Ready status=False reason=NoReadyBackend `)
	if err := os.Rename(sb.Spec.Local.Path+"-away", sb.Spec.Local.Path); err != nil {
		t.Fatal(err)
	}
	ask("2")
	c.says(`level=WARN msg="head mark" backend=logged condition=LogCurrent status=False reason=LogOlderThanBackend `)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonFailedLocations)
	// Once for each turn, and not for each look.
	if n := strings.Count(c.logs.String(), "ready=False reason="+storage.ReasonFolderNotFound); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

// TestClusterTellsOfABackendThatCannotBeReadEither: a prune took the Secret too,
// and the manager was restarted.
func TestClusterTellsOfABackendThatCannotBeReadEither(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	sb := c.s3("pruned", servers.S3Server{Endpoint: "http://127.0.0.1:9", Region: "us-east-1", Bucket: "bbb"}, nil)
	marked(t, c.client, object(t, c.namespace, "StorageBackend", sb.Name, "{}"))
	c.edit(sb, func() { sb.Finalizers = []string{v1alpha1.Finalizer} })
	c.registrar.Find("an id", registrar.Findings{Live: 7})
	if err := c.client.Delete(t.Context(), sb); err != nil {
		t.Fatal(err)
	}
	c.start(nil, false)
	eventually(t, func() string {
		is := c.until(sb, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
		for _, says := range []string{"names 7 live locations", "they cannot be read (" + declared.ReasonSecretNotFound + `: spec.s3.accessKeyRef: there is no Secret "keys"`} {
			if !strings.Contains(is.Message, says) {
				return is.Message
			}
		}
		return ""
	})
}
