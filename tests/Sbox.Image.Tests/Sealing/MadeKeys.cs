using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Image.Tests;

/// <summary>An owner's keys that were made once, for tests that have other promises than their making: that takes a second and a half each time.</summary>
internal static class MadeKeys
{
    public const string Password = "correct horse";

    private static readonly Lazy<TempDirectory> Made = new(static () =>
    {
        var made = new TempDirectory();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => made.Dispose();
        OwnerKeys.Create(made.Of("keys"), "Test", new Passphrase(Password), TimeProvider.System);
        return made;
    });

    /// <summary>A copy of them in a directory that is not there yet.</summary>
    public static OwnerKeys CopyTo(string directory)
    {
        Judge.OnPath("cp").Run("-a", Made.Value.Of("keys"), directory);
        return new OwnerKeys(directory);
    }
}
