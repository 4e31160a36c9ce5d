using System.Globalization;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Public keys that are believed, in a home directory of their own, and gpg to verify by them.</summary>
internal sealed class GpgKeyring : IDisposable
{
    private const string SystemDirectory = "/usr/share/ostree/trusted.gpg.d";
    private static readonly string[] NotPublic = ["secring.gpg", "trustdb.gpg"];
    private readonly GpgScratch home = new();
    private int verified;

    /// <summary>The keys of a remote, or of all: its own where it has some, else the machine's.</summary>
    /// <param name="repository">Whose remotes.</param>
    /// <param name="remote">The remote; null for all of them and the machine's.</param>
    /// <param name="extra">A home directory of gpg whose keys are believed too.</param>
    public static GpgKeyring Of(Repository repository, string? remote, string? extra = null)
    {
        var keyring = new GpgKeyring();
        try
        {
            bool own = false;
            foreach (string name in remote is not null ? [remote] : repository.RemoteNames())
                own |= keyring.AddRemote(repository, name);
            if (remote is null || !own)
                keyring.AddMachine();
            if (extra is not null)
                keyring.AddHome(extra);
            return keyring;
        }
        catch
        {
            keyring.Dispose();
            throw;
        }
    }

    /// <summary>A remote's own keys, whatever the machine believes; the machine's where no remote is named.</summary>
    public static GpgKeyring OfOnly(Repository repository, string? remote)
    {
        var keyring = new GpgKeyring();
        if (remote is null)
            keyring.AddMachine();
        else
            keyring.AddRemote(repository, remote);
        return keyring;
    }

    /// <summary>One without keys.</summary>
    public static GpgKeyring Empty() => new();

    /// <summary>Only the keys of a file; none where it is not there.</summary>
    public static GpgKeyring OfFile(string path)
    {
        var keyring = new GpgKeyring();
        if (File.Exists(path))
            keyring.AddFile(path);
        return keyring;
    }

    /// <summary>Some of its keys, or all, not armored.</summary>
    public byte[] Export(IReadOnlyList<string> fingerprints)
    {
        string file = home[$"exported-{verified++}"];
        Gpg.Run(Home, ["--no-autostart", "--yes", "--output", file, "--export", .. fingerprints]);
        return File.Exists(file) ? File.ReadAllBytes(file) : [];
    }

    /// <summary>Merges keys with those that it has.</summary>
    /// <exception cref="SignatureException">gpg would not take them; has its words.</exception>
    public void Import(byte[] keys)
    {
        Linux.ChildResult result = Gpg.Run(Home, ["--no-autostart", "--import", "--", home.Write("import", keys)]);
        if (result.ExitCode != 0)
            throw new SignatureException(null, $"Unable to import keys: {string.Join("; ", result.LastLines)}");
    }

    /// <summary>Its home directory.</summary>
    public string Home => home.Path;

    /// <summary>What is to be said of each signature.</summary>
    /// <param name="data">What was signed.</param>
    /// <param name="signatures">From anywhere.</param>
    public IReadOnlyList<GpgSignature> Verify(ReadOnlySpan<byte> data, IReadOnlyList<byte[]> signatures)
    {
        string content = home.Write("data", data);
        return [.. signatures.Select(signature => VerifyOne(content, signature))];
    }

    /// <summary>Fingerprints of the keys by an id, subkeys included; none where it knows no such key.</summary>
    public IReadOnlyList<string> Fingerprints(string keyId) => [.. GpgKey.List(Home, keyId).SelectMany(static key => key.Fingerprints)];

    public void Dispose() => home.Dispose();

    /// <summary>Adds keys from a file, armored or not.</summary>
    public void AddFile(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        if (bytes.AsSpan().IndexOf("-----BEGIN PGP"u8) >= 0)
        {
            Gpg.Run(Home, ["--no-autostart", "--import", "--", Path.GetFullPath(path)]);
            return;
        }

        using var ring = new FileStream(home["pubring.gpg"], FileMode.Append);
        ring.Write(bytes);
    }

    private bool AddRemote(Repository repository, string name)
    {
        bool own = false;
        foreach (Repository each in repository.WithParents())
        {
            string file = Path.Combine(each.Path, $"{name}.trustedkeys.gpg");
            if (!File.Exists(file))
                continue;
            AddFile(file);
            own = true;
        }

        foreach (string path in RemoteSettings.Paths(repository.RemoteConfig(name)?.GetString(RemoteSettings.Group(name), "gpgkeypath")))
        {
            if (path.Length > 0 && Directory.Exists(path))
                AddDirectory(path);
            else if (File.Exists(path))
                AddFile(path);
            else
                throw new SignatureException($"gpgkeypath of remote \"{name}\" ({path})", "No such file or directory");
            own = true;
        }

        return own;
    }

    private void AddMachine() =>
        AddDirectory(Environment.GetEnvironmentVariable("OSTREE_GPG_HOME") is { Length: > 0 } given ? given : SystemDirectory);

    private void AddDirectory(string path)
    {
        if (!Directory.Exists(path))
            return;
        foreach (string file in Directory.EnumerateFiles(path).Order(StringComparer.Ordinal))
        {
            if ((file.EndsWith(".gpg", StringComparison.Ordinal) || file.EndsWith(".asc", StringComparison.Ordinal)) && !NotPublic.Contains(Path.GetFileName(file)))
                AddFile(file);
        }
    }

    private void AddHome(string path)
    {
        if (!File.Exists(Path.Combine(path, "pubring.kbx")))
        {
            AddDirectory(path);
            return;
        }

        string exported = home["exported"];
        Gpg.Run(path, ["--yes", "--output", exported, "--export"]);
        if (File.Exists(exported))
            AddFile(exported);
    }

    private GpgSignature VerifyOne(string content, byte[] signature)
    {
        string file = home.Write("signature", signature), status = home[$"status-{verified++}"];
        Gpg.Run(Home, ["--no-autostart", "--no-auto-check-trustdb", "--status-file", status, "--verify", "--", file, content]);
        var read = new GpgStatus();
        foreach (string line in File.Exists(status) ? File.ReadAllLines(status) : [])
            read.Add(line);
        GpgKey? key = read.KeyId.Length > 0 && read.Finding != GpgFinding.KeyMissing ? GpgKey.List(Home, read.KeyId).FirstOrDefault() : null;
        return read.ToSignature(key);
    }

    /// <summary>What gpg wrote of one signature in its status file (doc/DETAILS in GnuPG's sources).</summary>
    private sealed class GpgStatus
    {
        private const string Mark = "[GNUPG:] ";
        private string fingerprint = "", primary = "", user = "";
        private long made, expires;
        private int algorithm;

        public string KeyId => fingerprint;

        public GpgFinding Finding { get; private set; } = GpgFinding.Bad;

        public void Add(string line)
        {
            if (!line.StartsWith(Mark, StringComparison.Ordinal))
                return;
            string[] words = line[Mark.Length..].Split(' ');
            switch (words[0])
            {
                case "GOODSIG":
                    Found(words, GpgFinding.Good);
                    break;
                case "BADSIG":
                    Found(words, GpgFinding.Bad);
                    break;
                case "EXPSIG":
                    Found(words, GpgFinding.Expired);
                    break;
                case "EXPKEYSIG":
                    Found(words, GpgFinding.KeyExpired);
                    break;
                case "REVKEYSIG":
                    Found(words, GpgFinding.KeyRevoked);
                    break;
                case "ERRSIG" when words.Length >= 7: // key, algorithm, hash, class, time, reason (9: no such key), fingerprint
                    fingerprint = words.Length > 7 && words[7] != "-" ? words[7] : words[1];
                    algorithm = (int)Number(words[2]);
                    made = Number(words[5]);
                    Finding = words[6] == "9" ? GpgFinding.KeyMissing : GpgFinding.Bad;
                    break;
                case "VALIDSIG" when words.Length >= 10: // fingerprint, date, time, expiry, version, -, algorithm, hash, class, primary
                    fingerprint = words[1];
                    made = Number(words[3]);
                    expires = Number(words[4]);
                    algorithm = (int)Number(words[7]);
                    primary = words.Length > 10 ? words[10] : fingerprint;
                    break;
            }
        }

        public GpgSignature ToSignature(GpgKey? key)
        {
            (string name, string email) = GpgKey.Person(user);
            return new GpgSignature(
                fingerprint, primary.Length > 0 ? primary : key?.Fingerprints[0] ?? fingerprint, made, expires, NameOf(algorithm), name, email, Finding,
                key?.ExpiryOf(fingerprint) ?? 0, key?.Expires ?? 0);
        }

        private void Found(string[] words, GpgFinding finding)
        {
            if (fingerprint.Length == 0)
                fingerprint = words.Length > 1 ? words[1] : "";
            user = GpgKey.Unescape(string.Join(' ', words.Skip(2)), '%');
            Finding = finding;
        }

        private static long Number(string text) => long.TryParse(text, CultureInfo.InvariantCulture, out long number) ? number : 0;

        private static string NameOf(int algorithm) => algorithm switch
        {
            1 or 2 or 3 => "RSA",
            17 => "DSA",
            19 => "ECDSA",
            22 => "EdDSA",
            _ => $"#{algorithm}",
        };
    }
}
