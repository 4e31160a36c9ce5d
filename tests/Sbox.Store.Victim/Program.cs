using Sbox.Store;

// commit REPO TREE | pull-local REPO SOURCE | pull REPO URL | prune REPO
using Repository repository = Repository.Open(args[1]);
try
{
    switch (args[0])
    {
        case "commit":
            repository.CommitDirectory(args[2], new CommitOptions { Branches = ["main"], Timestamp = DateTimeOffset.UnixEpoch });
            break;
        case "pull-local":
            using (Repository source = Repository.Open(args[2]))
                repository.PullLocal(source);
            break;
        case "pull":
            await repository.Pull(new PullOptions { Url = args[2], Refs = ["main"] });
            break;
        case "prune":
            repository.Prune(new PruneOptions { Depth = 0 });
            break;
        default:
            return 2;
    }

    return 0;
}
catch (Exception failure) when (failure is IOException or RepositoryException)
{
    Console.Error.WriteLine(failure.Message);
    return 1;
}
