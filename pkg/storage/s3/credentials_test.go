package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// TestWebIdentity: the credential chain includes web identity, as pods on EKS have it,
// and is used only if the config allows it. The test does not run in parallel because
// the environment is global.
func TestWebIdentity(t *testing.T) {
	var asked atomic.Int64
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != "a-token" || r.FormValue("RoleArn") != "arn:aws:iam::123456789012:role/store" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
			<AccessKeyId>lent-access</AccessKeyId><SecretAccessKey>lent-secret</SecretAccessKey><SessionToken>lent-token</SessionToken><Expiration>%s</Expiration>
			</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(sts.Close)
	folder := t.TempDir()
	token := filepath.Join(folder, "token")
	if err := os.WriteFile(token, []byte("a-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/store", "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ENDPOINT_URL_STS": sts.URL,
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(folder, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(folder, "none"),
	} {
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)

	if got, err := credentials(Config{}).Retrieve(ctx); !errors.Is(err, errNoCredentials) || got.HasKeys() {
		t.Errorf("not allowed: %s, %v", got.AccessKeyID, err)
	}
	own := Config{AccessKey: storage.NewSecret("a"), SecretKey: storage.NewSecret("s"), AllowAmbientCredentials: true}
	if got, err := credentials(own).Retrieve(ctx); err != nil || got.AccessKeyID != "a" || got.SessionToken != "" {
		t.Errorf("own: %s, %v", got.AccessKeyID, err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the token was shown %d times where it must not be", n)
	}
	provider := credentials(Config{AllowAmbientCredentials: true})
	for range 2 {
		got, err := provider.Retrieve(ctx)
		if err != nil || got.AccessKeyID != "lent-access" || got.SecretAccessKey != "lent-secret" || got.SessionToken != "lent-token" {
			t.Errorf("web identity: %s, %v", got.AccessKeyID, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once for as long as they are good", n)
	}
}
