package bench

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// controlPlane is an API server with a namespace of its own.
type controlPlane struct {
	config     *rest.Config
	client     client.WithWatch
	namespace  string
	kubeconfig string // a file
}

func startControlPlane(b *testing.B) controlPlane {
	b.Helper()
	env := envtest.Environment{
		BinaryAssetsDirectory: servers.ControlPlaneAssets(b),
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd")},
		ErrorIfCRDPathMissing: true,
	}
	_, err := env.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := env.Stop(); err != nil {
			b.Error(err)
		}
	})
	admin, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, &rest.Config{QPS: -1})
	if err != nil {
		b.Fatal(err)
	}
	c := controlPlane{config: admin.Config(), kubeconfig: filepath.Join(b.TempDir(), "kubeconfig")}
	content, err := admin.KubeConfig()
	if err == nil {
		err = os.WriteFile(c.kubeconfig, content, 0o600)
	}
	scheme := runtime.NewScheme()
	if err = errors.Join(err, clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		b.Fatal(err)
	}
	if c.client, err = client.NewWithWatch(c.config, client.Options{Scheme: scheme}); err != nil {
		b.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := c.client.Create(b.Context(), ns); err != nil {
		b.Fatal(err)
	}
	c.namespace = ns.Name
	return c
}

// declare creates everything, backends first, as somebody in a hurry would.
func (c controlPlane) declare(b *testing.B, server servers.S3Server) {
	b.Helper()
	for _, name := range []string{sharedKeys, ownKeys} {
		if err := c.client.Create(b.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.namespace},
			StringData: map[string]string{"access": server.AccessKey, "secret": server.SecretKey, "ca": string(server.CA)},
		}); err != nil {
			b.Fatal(err)
		}
	}
	all, ctx := errgroup.WithContext(b.Context())
	all.SetLimit(16)
	for i := range declaredBackends {
		secret := sharedKeys
		if i == 0 {
			secret = ownKeys
		}
		key := func(name string) *v1alpha1.ValueRef { return &v1alpha1.ValueRef{Name: secret, Key: name} }
		all.Go(func() error {
			return c.client.Create(ctx, &v1alpha1.StorageBackend{
				ObjectMeta: metav1.ObjectMeta{Name: backendName(i), Namespace: c.namespace},
				Spec: v1alpha1.StorageBackendSpec{
					S3: &v1alpha1.S3Spec{
						EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket, KeyPrefix: backendName(i),
						AccessKeyRef: key("access"), SecretKeyRef: key("secret"), CABundleRef: key("ca"),
					},
					Probe: v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: time.Minute}},
				},
			})
		})
	}
	for p := range declaredPolicies {
		all.Go(func() error {
			policy := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("policy-%02d", p), Namespace: c.namespace}}
			for r := range rulesEach {
				rule := v1alpha1.RoutingRule{Backends: targetsOf(p, r)}
				// A rule for everyone would leave nothing to younger policies: it stands in all of them apart.
				producers := producersOf(p, r)
				if producers == nil {
					producers = []string{"everyone-else-*"}
				}
				rule.Match = &v1alpha1.RoutingMatch{Producers: producers}
				policy.Spec.Rules = append(policy.Spec.Rules, rule)
			}
			return c.client.Create(ctx, policy)
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
}

// allReady says what is not Ready as it is declared; tried wants every verb tried as well.
func (c controlPlane) allReady(b *testing.B, tried bool) error {
	b.Helper()
	var backends v1alpha1.StorageBackendList
	var policies v1alpha1.RoutingPolicyList
	for _, list := range []client.ObjectList{&backends, &policies} {
		if err := c.client.List(b.Context(), list, client.InNamespace(c.namespace)); err != nil {
			return err
		}
	}
	unready, first := 0, ""
	judge := func(o client.Object, conditions []metav1.Condition, and bool) {
		is := meta.FindStatusCondition(conditions, "Ready")
		if is != nil && is.Status == metav1.ConditionTrue && is.ObservedGeneration == o.GetGeneration() && and {
			return
		}
		if unready++; first == "" {
			first = fmt.Sprintf("%s: %+v", o.GetName(), is)
		}
	}
	for i := range backends.Items {
		judge(&backends.Items[i], backends.Items[i].Status.Conditions, !tried || len(backends.Items[i].Status.Capabilities) > 0)
	}
	for i := range policies.Items {
		judge(&policies.Items[i], policies.Items[i].Status.Conditions, true)
	}
	if n := len(backends.Items) + len(policies.Items); n != declaredBackends+declaredPolicies {
		return fmt.Errorf("%d objects", n)
	}
	if unready > 0 {
		wait(b, time.Second) // to list 600 objects takes from what is measured
		return fmt.Errorf("%d are not ready; %s", unready, first)
	}
	return nil
}

// settle waits until nothing was written for a while.
func (c controlPlane) settle(b *testing.B) {
	b.Helper()
	writes, since := c.writes(b), time.Now()
	programs.EventuallyWithin(b, 5*time.Minute, func() error {
		if changed := c.changed(b, writes); len(changed) > 0 {
			writes, since = c.writes(b), time.Now()
		}
		if time.Since(since) < settledAfter {
			wait(b, time.Second)
			return errors.New("it is written to still")
		}
		return nil
	})
}

var requested = regexp.MustCompile(`^apiserver_request_total\{(.*)\} (\S+)$`)

// writes are the requests that changed something (and those that tried), by
// what they were, as the API server counts them. What it writes itself are leases and the like.
func (c controlPlane) writes(b *testing.B) map[string]float64 {
	b.Helper()
	httpClient, err := rest.HTTPClientFor(c.config)
	if err != nil {
		b.Fatal(err)
	}
	answer, err := httpClient.Get(strings.TrimSuffix(c.config.Host, "/") + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	found := map[string]float64{}
	reads := regexp.MustCompile(`verb="(GET|LIST|WATCH|CONNECT)"`)
	ours := regexp.MustCompile(`resource="(storagebackends|routingpolicies|events|secrets|cronjobs|jobs|pods|configmaps)"`)
	seen := 0
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, mebibyte)
	for lines.Scan() {
		m := requested.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		seen++
		if !ours.MatchString(m[1]) || reads.MatchString(m[1]) {
			continue
		}
		if found[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			b.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil || answer.StatusCode != http.StatusOK || seen == 0 {
		b.Fatalf("the API server's metrics: %s, %d counters, %v", answer.Status, seen, err)
	}
	return found
}

// written is how many writes there were so far.
func (c controlPlane) written(b *testing.B) (sum float64) {
	b.Helper()
	for _, n := range c.writes(b) {
		sum += n
	}
	return sum
}

// changed lists what was written since.
func (c controlPlane) changed(b *testing.B, since map[string]float64) (changed []string) {
	b.Helper()
	now := c.writes(b)
	for what, n := range now {
		if n != since[what] {
			changed = append(changed, fmt.Sprintf("%g times %s", n-since[what], what))
		}
	}
	if len(now) == 0 {
		b.Fatal("the API server counts no write at all")
	}
	return changed
}
