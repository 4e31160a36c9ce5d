using Sbox.Linux;

namespace Sbox.Cli.TombCommands;

/// <summary><c>mount.sbox-tomb USER PLACE</c>: what mount(8) calls for the type <c>sbox-tomb</c>, so that a line of fstab and an automount open a tomb.</summary>
internal static class MountHelper
{
    /// <summary>The name by which this program is called for it.</summary>
    public const string Name = "mount.sbox-tomb";

    private const int Misused = 1, Failed = 32; // as mount(8) has them

    /// <summary>Starts the user's unit, which mounts.</summary>
    public static async Task<int> Run(string[] arguments, CancellationToken cancel)
    {
        if (arguments is not [var user, var place, .. var options] || user.StartsWith('-'))
        {
            Console.Error.WriteLine($"{Name} USER PLACE: mount(8) calls this; man sbox-tomb-open");
            return Misused;
        }

        if (options.Contains("-f"))
            return 0;
        try
        {
            string home = RealPath.Of(OpenCommand.HomeOf(user));
            if (home != RealPath.Of(place))
                throw new Finding($"{place}: the home of {user} is {home}, and a tomb is mounted there alone", $"Write {home} into fstab");
            await TombService.StartAndAttach(user, home, cancel);
            return 0;
        }
        catch (Exception failure) when (Remedies.Explains(failure))
        {
            Remedies.Say(failure, ostree: false, json: false);
            return Failed;
        }
    }
}
