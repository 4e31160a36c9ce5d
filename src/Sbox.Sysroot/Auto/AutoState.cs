using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What automatic updates remember between two runs: <c>/var/lib/sbox/auto</c>, a key file.</summary>
public sealed record AutoState
{
    private const string Group = "auto", FileName = "auto";

    /// <summary>When the branch was looked at last.</summary>
    public DateTimeOffset? Checked { get; init; }

    /// <summary>What it led to.</summary>
    public AutoOffer? Offer { get; init; }

    /// <summary>The last commit that was deployed by itself.</summary>
    public Checksum? Deployed { get; init; }

    /// <summary>What marked the state of all deployments after that: it is another after each change of them, a person's too. Null once that commit has run.</summary>
    public string? DeployedAs { get; init; }

    /// <summary>When the last attempt failed, and why; null where it did not.</summary>
    public (DateTimeOffset Time, string Why)? Failure { get; init; }

    /// <summary>Reads a stateroot's; what cannot be read is as if it had never been.</summary>
    public static AutoState Read(OstreeSysroot sysroot, string os)
    {
        try
        {
            return sysroot.Root.TryReadAll($"{Layout.Stateroot(os)}/var/lib/sbox/{FileName}") is { } bytes ? Parse(Encoding.UTF8.GetString(bytes)) : new AutoState();
        }
        catch (Exception unreadable) when (unreadable is MalformedException or LinuxException)
        {
            return new AutoState(); // the branch is looked at once more than it need be
        }
    }

    /// <summary>A version runs, and not on trial: if it was deployed by itself, what it was for is done. Whoever has another run after this chose that.</summary>
    public static void NoteRan(OstreeSysroot sysroot, DeploymentName running)
    {
        if (Read(sysroot, running.Os) is not { DeployedAs: not null } state || state.Deployed != running.Commit)
            return;
        try
        {
            (state with { DeployedAs = null }).Write(sysroot, running.Os);
        }
        catch (IOException)
        {
            // A full disk decides neither whether a version is good nor whether to update; it is written down at the next occasion.
        }
    }

    /// <summary>Writes a stateroot's.</summary>
    public void Write(OstreeSysroot sysroot, string os)
    {
        string directory = $"{Layout.Stateroot(os)}/var/lib/sbox";
        sysroot.Root.MakeDirs(directory);
        using Dir own = sysroot.Root.OpenDir(directory);
        Durable.Replace(own, FileName, Encoding.UTF8.GetBytes(ToString()));
    }

    /// <summary>Reads the file's text.</summary>
    /// <exception cref="MalformedException">It is no key file.</exception>
    public static AutoState Parse(string text)
    {
        KeyFile file = KeyFile.Parse(text);
        DateTimeOffset? Time(string key) => long.TryParse(file.GetString(Group, key), NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) && seconds < 253402300800 ? DateTimeOffset.FromUnixTimeSeconds(seconds) : null;
        Checksum? Commit(string key) => Checksum.TryParse(file.GetString(Group, key) ?? "", out Checksum checksum) ? checksum : null;
        return new AutoState
        {
            Checked = Time("checked"),
            Offer = Commit("offer") is { } offer && Time("offer-made") is { } made ? new AutoOffer(offer, file.GetString(Group, "offer-version"), made) : null,
            Deployed = Commit("deployed"),
            DeployedAs = file.GetString(Group, "deployed-as"),
            Failure = Time("failed") is { } failed ? (failed, file.GetString(Group, "failure") ?? "") : null,
        };
    }

    /// <summary>The file's text.</summary>
    public override string ToString()
    {
        KeyFile file = KeyFile.Empty;
        void Set(string key, string? value) => file = value is null ? file : file.With(Group, key, value);
        static string? Seconds(DateTimeOffset? time) => time?.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        Set("checked", Seconds(Checked));
        Set("offer", Offer?.Commit.ToString());
        Set("offer-version", Offer?.Version);
        Set("offer-made", Seconds(Offer?.Made));
        Set("deployed", Deployed?.ToString());
        Set("deployed-as", DeployedAs);
        Set("failed", Seconds(Failure?.Time));
        Set("failure", Failure?.Why.ReplaceLineEndings(" "));
        return file.ToString();
    }
}
