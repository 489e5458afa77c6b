package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/controllers/observe/observetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// The real parts that tests of this package share: an API server with the
// generated CRDs, started by the first test that needs it and ended by TestMain.
var plane struct {
	sync.Once
	env    envtest.Environment
	config *rest.Config
	err    error
	users  sync.Mutex
}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // each manager has a logger of its own
	code := m.Run()
	if plane.config != nil {
		if err := plane.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the control plane:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// controlPlane returns how to reach the shared API server.
func controlPlane(t *testing.T) *rest.Config {
	t.Helper()
	plane.Do(func() {
		plane.env = envtest.Environment{
			BinaryAssetsDirectory: servers.ControlPlaneAssets(t),
			CRDDirectoryPaths:     []string{filepath.Join("..", "config", "crd")},
			ErrorIfCRDPathMissing: true,
		}
		plane.config, plane.err = plane.env.Start()
		if plane.err == nil {
			plane.err = admit(plane.config, kustomized(t, filepath.Join("..", "config", "admission")))
		}
	})
	if plane.err != nil {
		t.Fatal(plane.err)
	}
	return rest.CopyConfig(plane.config)
}

// admit installs the policies that the files hold.
func admit(config *rest.Config, files []string) error {
	c, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for document := range strings.SplitSeq(string(content), "\n---\n") {
			o := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict([]byte(document), &o.Object); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if err := client.WithFieldValidation(c, metav1.FieldValidationStrict).Create(context.Background(), o); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

// cutConfig is controlPlane through a cable that can be cut.
func cutConfig(t *testing.T) (*rest.Config, *observetest.Cable) {
	t.Helper()
	config := controlPlane(t)
	c := observetest.NewCable(t, strings.Trim(strings.TrimPrefix(config.Host, "https://"), "/"))
	config.TLSClientConfig.ServerName = "127.0.0.1"
	config.Host = "https://" + c.Address()
	return config, c
}
