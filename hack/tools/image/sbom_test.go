package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// checkSBOM: its modules are those that go version -m reads out of the programs.
func checkSBOM(t *testing.T, image, referrer v1.Image, index *v1.IndexManifest, beside string) {
	t.Helper()
	manifest, err := referrer.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Subject == nil || manifest.Subject.Digest != digest || manifest.ArtifactType != spdxMediaType || index.Manifests[1].ArtifactType != spdxMediaType {
		t.Fatalf("the SBOM refers to %+v as %q, want %s", manifest.Subject, manifest.ArtifactType, digest)
	}
	layer, err := referrer.LayerByDigest(manifest.Layers[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	if copied, err := os.ReadFile(beside); err != nil || !bytes.Equal(copied, text) {
		t.Errorf("the file beside the image is another (%v)", err)
	}
	var doc spdxDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{} // by id
	for _, p := range doc.Packages {
		if listed[p.SPDXID] != "" {
			t.Errorf("the id %s stands for two", p.SPDXID)
		}
		listed[p.SPDXID] = p.Name + "@" + p.VersionInfo
	}
	for _, name := range programNames {
		contains := map[string]bool{}
		for _, r := range doc.Relationships {
			if listed[r.RelatedSPDXElement] == "" {
				t.Errorf("%s is not listed", r.RelatedSPDXElement)
			}
			if r.SPDXElementID == spdxID("program", name) && r.RelationshipType == "CONTAINS" {
				contains[listed[r.RelatedSPDXElement]] = true
			}
		}
		want := modulesOf(t, filepath.Join(productFolder(t), name))
		for module := range want {
			if !contains[module] {
				t.Errorf("%s: the SBOM lacks %s", name, module)
			}
		}
		if len(contains) != len(want) || len(want) < 10 {
			t.Errorf("%s: the SBOM has %d modules, the program %d", name, len(contains), len(want))
		}
	}
}

// modulesOf asks go version -m; the standard library counts as one.
func modulesOf(t *testing.T, program string) map[string]bool {
	t.Helper()
	out, err := exec.Command("go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if version, found := strings.CutPrefix(line, program+": "); found {
			modules["stdlib@"+strings.TrimSpace(version)] = true
		}
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			modules[f[1]+"@"+f[2]] = true
		}
	}
	return modules
}

// TestSBOMBeside: a program for another system has an SBOM of its own modules, the
// same each time.
func TestSBOMBeside(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "artifactstore")
	content, err := os.ReadFile(filepath.Join(productFolder(t), "artifactstore"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var made [2][]byte
	for i := range made {
		if err := run([]string{"--sbom-beside", "--version", "1.2.3", "--created", "1000", path}, io.Discard); err != nil {
			t.Fatal(err)
		}
		if made[i], err = os.ReadFile(path + ".spdx.json"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("the second is another")
	}
	var doc spdxDocument
	if err := json.Unmarshal(made[0], &doc); err != nil {
		t.Fatal(err)
	}
	if want := modulesOf(t, path); len(doc.Packages) != len(want)+1 || doc.Packages[0].VersionInfo != "1.2.3" {
		t.Errorf("%d packages of version %s, want %d", len(doc.Packages), doc.Packages[0].VersionInfo, len(want)+1)
	}
	for _, args := range [][]string{{"--sbom-beside"}, {"--sbom-beside", filepath.Join(folder, "none")}, {"--sbom-beside", path + ".spdx.json"}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
