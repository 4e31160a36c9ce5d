using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>A directory for one test, with a password file and real restic at hand.</summary>
internal sealed class Place : IDisposable
{
    public const string Password = "correct horse";

    public Place()
    {
        Directory.CreateDirectory(Path);
        File.WriteAllText(PasswordFile, Password + "\n");
    }

    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"sbox-tomb-{Guid.NewGuid():N}");

    public string PasswordFile => this["password"];

    public string TombPath => this["tomb"];

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public static SecretMemory Secret(string password = Password) => new(System.Text.Encoding.UTF8.GetBytes(password));

    /// <summary>Real restic on the tomb of this place, or on another.</summary>
    public string Restic(params string[] arguments) => ResticOn(TombPath, arguments);

    public string ResticOn(string where, params string[] arguments) =>
        Judge.Restic.Run(["-r", where, "--password-file", PasswordFile, "--no-cache", .. arguments]);

    public DirectoryBackend Backend() => new(TombPath);

    public Task<TombRepository> Open() => TombRepository.Open(Backend(), Secret(), TestContext.Current.CancellationToken);

    public void Dispose()
    {
        using Dir parent = Dir.Open(System.IO.Path.GetTempPath());
        parent.RemoveAll(System.IO.Path.GetFileName(Path));
    }
}
